//! The program that tests start as one node: cargo builds only the own programs of a package for its tests.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    sessionmesh_testkit::processes::testnode::main()
}

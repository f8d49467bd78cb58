//! Writes the seeds of all targets into `corpus`: `cargo run --release --no-default-features --example seed`.

use std::fs;
use std::path::Path;

fn main() -> std::io::Result<()> {
    for target in sessionmesh_fuzz::targets::ALL {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target.name);
        fs::create_dir_all(&folder)?;
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("seed-")) {
                fs::remove_file(path)?;
            }
        }
        for (number, seed) in target.seeds().iter().enumerate() {
            fs::write(folder.join(format!("seed-{number:02}")), seed)?;
        }
    }
    Ok(())
}

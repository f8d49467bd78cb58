//! A balancer process, run with the configuration that the documentation gives.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::{Child, Command};

use crate::processes::tail;

/// Where the balancer listens: an address that no connection starts from.
const HOST: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 10);

/// Which balancer, and with which of the configurations in `docs/balancers`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `nginx.conf`
    Nginx,
    /// `nginx-sticky.conf`
    NginxSticky,
    /// `haproxy.cfg`
    Haproxy,
    /// `haproxy-sticky.cfg`
    HaproxySticky,
}

impl Kind {
    fn file(self) -> &'static str {
        match self {
            Self::Nginx => "nginx.conf",
            Self::NginxSticky => "nginx-sticky.conf",
            Self::Haproxy => "haproxy.cfg",
            Self::HaproxySticky => "haproxy-sticky.cfg",
        }
    }

    const fn is_nginx(self) -> bool {
        matches!(self, Self::Nginx | Self::NginxSticky)
    }

    /// The program; none if it is not installed here.
    #[must_use]
    pub fn program(self) -> Option<PathBuf> {
        let name = if self.is_nginx() { "nginx" } else { "haproxy" };
        let path = std::env::var_os("PATH").unwrap_or_default();
        // Debian keeps them where only root looks.
        let places = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
        places.map(|place| place.join(name)).find(|program| program.is_file())
    }

    /// How long before its hand-over a node must say that it stops. nginx asks nobody; HAProxy needs two checks, each
    /// 500 ms and what a busy machine adds.
    #[must_use]
    pub const fn notice(self) -> Duration {
        if self.is_nginx() { Duration::ZERO } else { Duration::from_secs(2) }
    }

    /// The line that says where to listen.
    fn listen(self, port: &str) -> String {
        if self.is_nginx() { format!("listen {port};") } else { format!("bind {port}") }
    }

    /// The configuration, with the addresses of this machine.
    fn configuration(self, own: SocketAddr, nodes: &[(&str, SocketAddr)]) -> String {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/balancers").join(self.file());
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let everywhere = if self.is_nginx() { "80" } else { ":80" };
        let replace = |text: String, from: &str, to: &str| {
            assert!(text.contains(from), "{} has no {from:?}", path.display());
            text.replace(from, to)
        };
        let text = replace(text, &self.listen(everywhere), &self.listen(&own.to_string()));
        nodes.iter().fold(text, |text, (name, addr)| replace(text, &format!("{name}:8080"), &addr.to_string()))
    }
}

/// A running balancer. The process ends with this.
#[derive(Debug)]
pub struct Balancer {
    kind: Kind,
    addr: SocketAddr,
    child: Child,
    dir: PathBuf,
}

impl Balancer {
    /// Starts a balancer in front of `nodes`, with its files in `dir`, and does not wait for it.
    ///
    /// # Panics
    ///
    /// When the configuration is not as the tests expect, or the program cannot be started.
    #[must_use]
    pub fn start(kind: Kind, program: &Path, nodes: &[(&str, SocketAddr)], port: u16, dir: &Path) -> Self {
        let addr = SocketAddr::from((HOST, port));
        let site = dir.join(kind.file());
        fs::write(&site, kind.configuration(addr, nodes)).expect("a file can be written");
        let mut command = Command::new(program);
        if kind.is_nginx() {
            let main = dir.join("main.conf");
            fs::write(&main, nginx_main(dir, &site)).expect("a file can be written");
            command.arg("-p").arg(dir).args(["-e", "stderr", "-c"]).arg(main);
        } else {
            let global = dir.join("global.cfg");
            fs::write(&global, "global\n    log stdout format raw local0\n").expect("a file can be written");
            command.arg("-db").arg("-f").arg(global).arg("-f").arg(site);
        }
        // Appended to, since nginx opens it a second time.
        let log = File::options().create(true).append(true).open(dir.join(LOG)).expect("a file can be made");
        let also = log.try_clone().expect("a file can be shared");
        command.stdin(Stdio::null()).stdout(log).stderr(also).kill_on_drop(true);
        let child = command.spawn().unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        Self { kind, addr, child, dir: dir.to_owned() }
    }

    /// Where visitors reach it.
    #[must_use]
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What it is.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<String> {
        let status = self.child.try_wait().expect("it is a child of this process")?;
        Some(format!("{:?} has ended: {status}\n{}", self.kind, self.log()))
    }

    /// The host of [`Balancer::addr`].
    #[must_use]
    pub const fn host() -> Ipv4Addr {
        HOST
    }

    /// How many requests were sent to a second node.
    #[must_use]
    pub fn retried(&self) -> usize {
        // nginx lists the nodes that were tried. HAProxy ends its five counters of connections with the tries that
        // were more than one, and a + says that they went to another node.
        let is_retried = |line: &&str| {
            if self.kind.is_nginx() {
                let is_request = line.as_bytes().get(3) == Some(&b' ');
                is_request && line.split('"').nth(2).is_some_and(|tried| tried.contains(", "))
            } else {
                line.split(' ').filter(|field| field.matches('/').count() == 4).any(|field| field.contains("/+"))
            }
        };
        self.logged().lines().filter(is_retried).count()
    }

    fn logged(&self) -> String {
        fs::read_to_string(self.dir.join(LOG)).unwrap_or_default()
    }

    fn log(&self) -> String {
        tail(self.kind.file(), &self.logged())
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.log());
        }
    }
}

/// What a balancer logs goes into this file.
const LOG: &str = "balancer.log";

/// What a distribution has in `/etc/nginx/nginx.conf`; one process, so that its end is the end of all, and a line for
/// each request with all nodes that were tried.
fn nginx_main(dir: &Path, site: &Path) -> String {
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|what| format!("    {what}_temp_path {}/{what};\n", dir.display()))
        .collect();
    format!(
        "daemon off;\nmaster_process off;\npid {dir}/nginx.pid;\nerror_log stderr warn;\n\
         events {{ worker_connections 256; }}\n\
         http {{\n{temporary}    log_format tried '$status \"$request\" $upstream_addr $upstream_status $upstream_response_time';\n    \
         access_log /dev/stderr tried;\n    include {site};\n}}\n",
        dir = dir.display(),
        site = site.display(),
    )
}

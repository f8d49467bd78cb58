//! One node: its folder, its process.

use std::fs;
use std::fs::File;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

use super::{Manager, Tomcat};
use crate::http::peers::Sites;

const SERVER: &str = include_str!("../../../tomcat/server.xml");
const CLUSTER: &str = include_str!("../../../tomcat/cluster.xml");
const WEB: &str = include_str!("../../../tomcat/web.xml");
const LOGGING: &str = include_str!("../../../tomcat/logging.properties");

/// How long a node may take to start: a few seconds usually, more while others start, too.
const STARTS_WITHIN: Duration = Duration::from_secs(120);
/// So that a dozen of them fit beside each other. No run needs as much.
const HEAP: &str = "-Xmx1g";
/// What precedes the port in the log, and what ends it.
const PORT: (&str, char) = ("Starting ProtocolHandler [\"http-nio-127.0.0.1-auto-", '"');

/// A node that may not answer yet.
pub(super) struct Node {
    process: Child,
    folder: TempDir,
}

impl Node {
    pub(super) async fn start(tomcat: &Tomcat, manager: Manager, multicast: u16) -> anyhow::Result<Self> {
        // Another program may take the port in between: then Tomcat takes one of the next.
        let receiver = TcpListener::bind("127.0.0.1:0").await?.local_addr()?.port();
        let folder = tempfile::tempdir()?;
        let base = folder.path();
        lay_out(base, tomcat.classes.path(), &server_xml(manager, multicast, receiver))?;
        let bin = tomcat.home.join("bin");
        let classes = std::env::join_paths([bin.join("bootstrap.jar"), bin.join("tomcat-juli.jar")])?;
        let property = |name: &str, path: &Path| format!("-D{name}={}", path.display());
        let log = File::create(base.join("log"))?;
        let process = Command::new("java")
            .args([HEAP, "-Djava.net.preferIPv4Stack=true"])
            .arg("-Djava.util.logging.manager=org.apache.juli.ClassLoaderLogManager")
            .arg(property("catalina.home", &tomcat.home))
            .arg(property("catalina.base", base))
            .arg(property("java.io.tmpdir", &base.join("temp")))
            .arg(property("java.util.logging.config.file", &base.join("conf/logging.properties")))
            .arg("-cp")
            .arg(classes)
            .args(["org.apache.catalina.startup.Bootstrap", "start"])
            .current_dir(base)
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .context("cannot start java")?;
        Ok(Self { process, folder })
    }

    /// Waits until it serves, and adds it to `sites`.
    pub(super) async fn ready(mut self, sites: &mut Sites) -> anyhow::Result<()> {
        let until = Instant::now() + STARTS_WITHIN;
        let file = self.folder.path().join("log");
        loop {
            let log = String::from_utf8_lossy(&fs::read(&file)?).into_owned();
            if let Some(port) = port(&log) {
                sites.add(self.process, SocketAddr::from(([127, 0, 0, 1], port)), Some(self.folder));
                return Ok(());
            }
            if let Some(status) = self.process.try_wait()? {
                bail!("Tomcat ended with {status}: {}", last_lines(&log));
            }
            ensure!(
                Instant::now() < until,
                "Tomcat takes longer than {STARTS_WITHIN:?} to start: {}",
                last_lines(&log)
            );
            sleep(Duration::from_millis(20)).await;
        }
    }
}

fn lay_out(base: &Path, classes: &Path, server: &str) -> anyhow::Result<()> {
    let app = base.join("webapps/ROOT/WEB-INF");
    for folder in [&app.join("classes"), &base.join("conf"), &base.join("temp"), &base.join("logs"), &base.join("work")]
    {
        fs::create_dir_all(folder)?;
    }
    fs::write(base.join("conf/server.xml"), server)?;
    fs::write(base.join("conf/logging.properties"), LOGGING)?;
    fs::write(app.join("web.xml"), WEB)?;
    let class = "SessionServlet.class";
    fs::copy(classes.join(class), app.join("classes").join(class)).context("the servlet was not compiled")?;
    Ok(())
}

fn server_xml(manager: Manager, multicast: u16, receiver: u16) -> String {
    let (class, sending, own) = match manager {
        Manager::Standard => return SERVER.replace("@cluster@", ""),
        Manager::Delta(sending) => ("DeltaManager", sending, String::new()),
        // Its map has options of its own.
        Manager::Backup(sending) => ("BackupManager", sending, format!("mapSendOptions=\"{}\"", sending.options())),
    };
    let cluster = CLUSTER
        .replace("@manager@", class)
        .replace("@manager-options@", &own)
        .replace("@options@", &sending.options().to_string())
        .replace("@multicast@", &multicast.to_string())
        .replace("@receiver@", &receiver.to_string());
    SERVER.replace("@cluster@", &cluster)
}

/// The port that Tomcat took, once its log tells.
fn port(log: &str) -> Option<u16> {
    let (_, rest) = log.split_once(PORT.0)?;
    let (name, _) = rest.split_once(PORT.1)?;
    name.rsplit('-').next()?.parse().ok()
}

fn last_lines(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(5)..].join("; ")
}

#[cfg(test)]
mod tests {
    use super::super::Sending;
    use super::*;

    #[test]
    fn the_port_is_read_from_the_log() {
        let before = "21-Nov-2026 13:00:00 INFO [main] Initializing ProtocolHandler [\"http-nio-127.0.0.1-auto-1\"]\n";
        assert_eq!(port(before), None);
        let line =
            "INFO [main] o.a.c.AbstractProtocol.start Starting ProtocolHandler [\"http-nio-127.0.0.1-auto-1-40123\"]";
        assert_eq!(port(&format!("{before}{line}")), Some(40_123));
        assert_eq!(port(&format!("{before}{}", &line[..line.len() - 4])), None, "a line that is not complete");
    }

    #[test]
    fn nothing_is_left_to_replace() {
        let sending = [Sending::Asynchronous, Sending::Acknowledged];
        let managers = sending.into_iter().flat_map(|sending| [Manager::Delta(sending), Manager::Backup(sending)]);
        for manager in managers.chain([Manager::Standard]) {
            let xml = server_xml(manager, 1_111, 2_222);
            assert!(!xml.contains('@'), "{xml}");
            assert_eq!(xml.contains("<Cluster"), manager != Manager::Standard, "{xml}");
        }
        let xml = server_xml(Manager::Backup(Sending::Acknowledged), 1_111, 2_222);
        for part in ["channelSendOptions=\"6\"", "mapSendOptions=\"6\"", "port=\"1111\"", "port=\"2222\""] {
            assert!(xml.contains(part), "{part} in {xml}");
        }
    }
}

//! `sessionmesh top`: what a node does, drawn in the terminal as it happens.

mod view;

use std::io::IsTerminal as _;
use std::time::Duration;

use ratatui::crossterm::event::{self, Event as Input, KeyCode, KeyModifiers};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::interval;

use self::view::View;
use super::{Node, OperatorArgs, say};
use crate::failure::Failure;

const PATH: &str = "/v1/events?figures=true";
/// How often keys are looked at.
const KEYS: Duration = Duration::from_millis(50);

/// Draws until `q`, Ctrl-C, or the end of the node.
pub(crate) async fn run(args: &OperatorArgs) -> Result<(), Failure> {
    let node = Node::of(args)?;
    if args.json {
        return node.follow(PATH, |told| say(&told.to_string())).await;
    }
    if !std::io::stdout().is_terminal() {
        return Err(Failure::Refused("`top` draws in a terminal; use `status`, `watch`, or --json".to_owned()));
    }
    // Who cannot be reached is told before the terminal is taken.
    node.get("/v1/health").await?;
    let (tell, mut told) = mpsc::unbounded_channel::<Value>();
    let following = node.follow(PATH, move |value| {
        // After the end nobody reads it.
        let _ = tell.send(value.clone());
    });
    let mut terminal = ratatui::init();
    let drawing = async {
        let (mut view, mut keys) = (View::default(), interval(KEYS));
        loop {
            tokio::select! {
                value = told.recv() => match value {
                    Some(value) => view.told(&value),
                    None => return Ok(()),
                },
                _ = keys.tick() => {
                    if wants_to_leave().map_err(|error| failed(&error))? {
                        return Ok(());
                    }
                    continue;
                }
            }
            terminal.draw(|frame| view.draw(frame)).map_err(|error| failed(&error))?;
        }
    };
    let ended = tokio::select! {
        drawn = drawing => drawn,
        followed = following => followed,
    };
    ratatui::restore();
    ended
}

fn failed(error: &std::io::Error) -> Failure {
    Failure::Failed(Some(format!("cannot draw: {error}")))
}

fn wants_to_leave() -> std::io::Result<bool> {
    while event::poll(Duration::ZERO)? {
        if let Input::Key(key) = event::read()? {
            let interrupted = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
            if interrupted || matches!(key.code, KeyCode::Char('q') | KeyCode::Esc) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

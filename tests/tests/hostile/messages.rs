//! Valid messages that a stranger had better not send.

use sessionmesh::UserIndex;
use sessionmesh_core::users::UserKey;
use sessionmesh_core::wire::codec;
use sessionmesh_core::wire::message::{Answers, Batch, Hello, Message, Ping, Refused, UserQuery, UserReply};
use sessionmesh_core::wire::version::Version;
use sessionmesh_testkit::cluster::{PATIENCE, log_in};
use sessionmesh_testkit::waiting::Turn;
use tokio::time::timeout;

use crate::DEADLINE;
use crate::target::Target;
use crate::wire::{closes, receive, send};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_is_told_no_ids_of_the_sessions_of_a_user() {
    let _turn = Turn::in_this_process().await;
    let target = Target::new().await;
    log_in(target.node(), "ada").await;
    let rule = UserIndex::attribute("user").fingerprint();
    let mut stream = target.inside().await;
    let ask = UserQuery { request: 1, rule, user: UserKey::of("ada"), after: None };
    send(&mut stream, &Message::UserQuery(ask)).await.expect("it reads");
    let answer = timeout(PATIENCE, receive(&mut stream)).await.expect("at once").expect("no reset").expect("an answer");
    let Ok(Message::UserReply(told)) = codec::decode(&answer, Version::NEWEST) else { panic!("another answer") };
    assert_eq!((told.current, told.ids, told.more), (false, Vec::new(), false));
    for node in target.cluster.nodes() {
        assert_eq!(node.sessions_of("ada").await.expect("calm").len(), 1, "members are told");
    }
    target.is_well(64).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dialler_that_sends_what_only_listeners_send_is_closed_out() {
    let _turn = Turn::in_this_process().await;
    let target = Target::new().await;
    let answers = Answers { seq: 1, counter: 1, view: 1, codes: vec![0; 10] };
    let told = UserReply { request: 1, view: 1, counter: 1, current: true, ids: Vec::new(), more: true };
    let messages = [Message::Answers(answers), Message::UserReply(told), target.hello()];
    for message in messages.into_iter().chain([Message::Refused(Refused::Cluster)]) {
        let mut stream = target.inside().await;
        send(&mut stream, &message).await.expect("it reads");
        closes(&mut stream, PATIENCE).await.expect("it is closed");
    }
    // A stranger may say goodbye.
    let mut stream = target.inside().await;
    send(&mut stream, &Message::Bye).await.expect("it reads");
    target.is_well(64).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counters_at_their_end_do_not_stop_writing() {
    let _turn = Turn::in_this_process().await;
    let target = Target::new().await;
    for counter in [u64::MAX, u64::MAX - 1, u64::MAX / 2] {
        let mut stream = target.inside().await;
        send(&mut stream, &Message::Ping(Ping { sent: 0, view: 0, counter, leaving: true })).await.expect("it reads");
        let _ = timeout(DEADLINE, receive(&mut stream)).await;
        send(
            &mut stream,
            &Message::Batch(Batch { seq: u64::MAX, counter, deltas: Vec::new(), tombstones: Vec::new() }),
        )
        .await
        .expect("it reads");
        let _ = timeout(DEADLINE, receive(&mut stream)).await;
        let Message::Hello(hello) = target.hello() else { unreachable!("it is a hello") };
        let mut stream = target.dial().await;
        send(&mut stream, &Message::Hello(Hello { counter, ..hello })).await.expect("it reads");
        let _ = timeout(DEADLINE, receive(&mut stream)).await;
    }
    for step in 0..20_usize {
        for (node, id) in target.cluster.nodes().iter().flat_map(|node| target.ids.iter().map(move |id| (node, *id))) {
            let session = node.load(id).await.expect("it serves").expect("it was committed");
            let value = format!("{step} on {}", node.name());
            session.insert("step", &value).expect("text is JSON");
            session.commit().await.expect("it serves");
            let again = node.load(id).await.expect("it serves").expect("it was committed");
            assert_eq!(again.get::<String>("step").expect("text"), Some(value), "a write that was confirmed counts");
        }
    }
    target.is_well(64).await;
}

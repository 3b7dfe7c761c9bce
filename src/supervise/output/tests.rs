//! When a stream takes a thread. What comes out of it is tested through the binary.

use super::*;

#[test]
fn a_stream_that_nothing_came_through_needs_no_thread() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut output = Output::new(Arc::default());
        let [closed, open] = [Target::Stdout, Target::Stderr].map(|t| output.pipe(t).unwrap());
        drop(closed);
        let closed = |output: &Output| !matches!(output.channels[0].state, State::Silent(_));
        tokio::time::timeout(Duration::from_secs(60), async {
            while !closed(&output) {
                tokio::select! {
                    biased;
                    () = output.flow() => {}
                    () = tokio::task::yield_now() => {}
                }
            }
        })
        .await
        .unwrap();
        let [closed, silent] = &output.channels[..] else { panic!("two streams") };
        assert!(matches!(closed.state, State::Over), "{closed:?}");
        assert!(closed.facts().whole);
        assert!(matches!(silent.state, State::Silent(_)), "{silent:?}");
        drop(open);
    });
}

//! What follows from what a destination and its relays have said.

use proptest::prelude::*;

use super::*;

fn stretch(after: u64, upto: u64) -> Stretch {
    Stretch { after: Position(after), upto: Position(upto), start: "s".into() }
}

fn deliveries(progress: &Progress, upto: u64) -> String {
    let letter = |position| match progress.delivery(Position(position)) {
        Delivery::Queued => 'q',
        Delivery::AtRelay => 'k',
        Delivery::Delivered => 'd',
    };
    (1..=upto).map(letter).collect()
}

#[test]
fn what_a_relay_keeps_is_delivered_once_it_is_acknowledged() {
    let mut progress = Progress::at(Position(1));
    progress.receive(Position(1), Position(2));
    progress.keep(&stretch(2, 4), 10, Keeping::default());
    progress.keep(&stretch(4, 6), 10, Keeping::default());
    assert_eq!(deliveries(&progress, 7), "ddkkkkq");
    assert_eq!(progress.next_part(), (Position(6), None), "what follows goes on");
    assert!(progress.acknowledge(&stretch(4, 6)));
    assert_eq!(deliveries(&progress, 7), "ddkkddq");
    assert!(!progress.acknowledge(&stretch(4, 6)), "nothing new");
    assert!(progress.acknowledge(&stretch(2, 4)));
    assert_eq!(progress, Progress::at(Position(6)));
}

#[test]
fn an_acknowledgement_of_another_start_means_other_events() {
    let mut progress = Progress::at(Position(0));
    progress.keep(&stretch(0, 4), 10, Keeping::default());
    assert!(!progress.acknowledge(&Stretch { start: "other".into(), ..stretch(0, 4) }));
    assert_eq!(deliveries(&progress, 4), "kkkk");
}

#[test]
fn what_was_never_handed_over_cannot_be_acknowledged() {
    let mut progress = Progress::at(Position(0));
    assert!(!progress.acknowledge(&stretch(0, 4)));
    assert_eq!(deliveries(&progress, 4), "qqqq");
}

#[test]
fn without_an_acknowledgement_it_is_queued_again_when_relays_will_have_lost_it() {
    let mut progress = Progress::at(Position(0));
    progress.keep(&stretch(0, 4), 5, Keeping::default());
    progress.keep(&stretch(4, 6), KEPT_FOR_MILLIS, Keeping::default());
    progress.receive(Position(6), Position(8));
    let due = progress.next_expiry().expect("something is kept");
    assert!(!progress.requeue_expired(due - 1));
    assert!(progress.requeue_expired(due));
    assert_eq!(deliveries(&progress, 8), "qqqqkkdd");
    assert_eq!(progress.next_part(), (Position(0), Some(Position(4))));
    progress.receive(Position(0), Position(3));
    assert_eq!(progress.next_part(), (Position(3), Some(Position(4))));
    progress.keep(&stretch(3, 4), due, Keeping::default());
    assert_eq!((progress.next_part(), progress.frontier()), ((Position(8), None), Position(8)));
}

#[test]
fn a_relay_that_says_how_long_it_keeps_mail_is_believed_within_reason() {
    let keeping = |retention| Keeping { retention: Some(retention), ..Keeping::default() };
    for (said, held) in [(7 * 24 * 3_600_000, 7 * 24 * 3_600_000), (0, SHORTEST_MILLIS), (u64::MAX, LONGEST_MILLIS)] {
        let mut progress = Progress::at(Position(0));
        progress.keep(&stretch(0, 4), 0, keeping(said));
        assert_eq!(progress.next_expiry(), Some(held + 1));
        assert!(!progress.requeue_expired(held) && progress.requeue_expired(held + 1));
    }
}

#[test]
fn relays_that_lack_something_are_known_until_it_is_acknowledged() {
    let mut progress = Progress::at(Position(0));
    let lacking = |relays: &[&str]| Keeping { lacking: relays.iter().map(|&relay| relay.to_owned()).collect(), ..Keeping::default() };
    progress.keep(&stretch(0, 2), 5, Keeping::default());
    progress.keep(&stretch(2, 8), 5, lacking(&["x", "y"]));
    assert_eq!(progress.first_lacking(), Some((stretch(2, 8), ["x".to_owned(), "y".to_owned()].as_slice())));
    progress.lack(&stretch(2, 5), &["y".to_owned()]);
    assert_eq!(progress.first_lacking(), Some((stretch(2, 5), ["y".to_owned()].as_slice())));
    assert!(progress.acknowledge(&stretch(2, 5)));
    progress.lack(&stretch(2, 5), &["y".to_owned()]);
    assert_eq!(deliveries(&progress, 8), "kkdddkkk", "what was acknowledged stays so");
    progress.lack(&stretch(5, 8), &[]);
    assert_eq!(progress.first_lacking(), None);
    assert_eq!(deliveries(&progress, 8), "kkdddkkk");
}

#[test]
fn what_was_lost_with_the_power_was_never_told() {
    let mut progress = Progress::at(Position(0));
    progress.keep(&stretch(0, 4), 5, Keeping::default());
    progress.receive(Position(4), Position(8));
    progress.keep(&stretch(8, 10), 5, Keeping::default());
    progress.in_flight = Some(InFlight { stretch: stretch(10, 12), made_at: 0 });
    progress.clip(Position(6));
    assert_eq!((progress.frontier(), progress.in_flight.clone()), (Position(6), None));
    assert_eq!(deliveries(&progress, 9), "kkkkddqqq");
    progress.clip(Position(2));
    assert_eq!(deliveries(&progress, 4), "kkqq");
    let mut all = Progress::at(Position(9));
    all.clip(Position(3));
    assert_eq!(deliveries(&all, 4), "dddq");
}

#[test]
fn an_offline_month_makes_few_segments() {
    let mut progress = Progress::at(Position(0));
    for number in 0..30 * 24 * 60 {
        progress.keep(&stretch(number, number + 1), number * 60_000, Keeping::default());
    }
    assert_eq!(progress.segments.len(), 30 * 24);
}

#[test]
fn refusals_are_remembered_with_a_bound() {
    let mut progress = Progress::at(Position(0));
    for position in 1..=300 {
        progress.refuse(Refused { position: Position(position), reason: position.to_string() });
    }
    assert_eq!((progress.refusal(Position(300)), progress.refusal(Position(1))), (Some("300"), None));
    assert_eq!(progress.refused.len(), MAX_REFUSED);
}

#[derive(Clone, Debug)]
enum Step {
    Receive(u64),
    Keep(u64),
    Acknowledge(u64, u64),
    Requeue(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (1_u64..5).prop_map(Step::Receive),
        (1_u64..5).prop_map(Step::Keep),
        (0_u64..40, 1_u64..9).prop_map(|(after, length)| Step::Acknowledge(after, after + length)),
        (0_u64..100).prop_map(Step::Requeue),
    ]
}

proptest! {
    /// Against a model that notes each position by itself.
    #[test]
    fn segments_say_what_single_positions_would(steps in proptest::collection::vec(step(), 0..40)) {
        let mut progress = Progress::at(Position(0));
        let mut model: Vec<(char, u64)> = Vec::new();
        for (time, step) in (0_u64..).zip(steps) {
            let now = time * KEPT_AT_GRAIN_MILLIS;
            match step {
                Step::Receive(length) | Step::Keep(length) => {
                    let (after, upto) = progress.next_part();
                    let upto = upto.map_or(after.0 + length, |upto| upto.0.min(after.0 + length));
                    let letter = if matches!(step, Step::Keep(_)) { 'k' } else { 'd' };
                    if letter == 'k' { progress.keep(&stretch(after.0, upto), now, Keeping::default()) } else { progress.receive(after, Position(upto)) }
                    model.resize(model.len().max(usize::try_from(upto).unwrap()), ('q', 0));
                    for position in after.0..upto {
                        prop_assert_eq!(model[usize::try_from(position).unwrap()].0, 'q', "only what is queued is sent");
                        model[usize::try_from(position).unwrap()] = (letter, now);
                    }
                }
                Step::Acknowledge(after, upto) => {
                    let part = usize::try_from(after).unwrap()..usize::try_from(upto).unwrap();
                    let acknowledged = model.iter_mut().enumerate().filter(|(at, entry)| part.contains(at) && entry.0 == 'k');
                    let any = acknowledged.map(|(_, entry)| entry.0 = 'd').count() > 0;
                    prop_assert_eq!(progress.acknowledge(&stretch(after, upto)), any);
                }
                Step::Requeue(time) => {
                    let before = time * KEPT_AT_GRAIN_MILLIS;
                    let lost = model.iter_mut().filter(|entry| entry.0 == 'k' && entry.1 < before);
                    let any = lost.map(|entry| entry.0 = 'q').count() > 0;
                    prop_assert_eq!(progress.requeue_kept_before(before), any);
                }
            }
            let expected: String = model.iter().map(|entry| entry.0).collect();
            prop_assert_eq!(deliveries(&progress, model.len() as u64), expected.clone());
            let first = expected.find('q').unwrap_or(expected.len()) as u64;
            prop_assert_eq!(progress.next_part().0, Position(first));
            let row = serde_json::to_vec(&progress).unwrap();
            prop_assert_eq!(serde_json::from_slice::<Progress>(&row).unwrap(), progress.clone());
        }
    }
}

//! The aggregator's end: batches that a gateway may not send.

use super::*;

#[test]
fn a_gateway_whose_batch_has_no_events_is_closed() {
    for (first_seq, count) in [(1, 0), (0, 1)] {
        let mut link = aggregator_session(0);
        link.batch(0, commit_header(1, first_seq, count), ());
        let closed = std::iter::from_fn(|| link.output())
            .any(|output| matches!(output, AggregatorOutput::Close { bye: Some(bye) } if bye.message.contains("without events")));
        assert!(closed, "{count} events from {first_seq}");
    }
}

#[test]
fn bounded_a_gateway_that_floods_the_aggregator_has_its_lanes_rewound_and_its_session_stays() {
    const LANES: u32 = 7;
    let mut link = aggregator_session(LANES);
    let most = 2 * Limits::default().max_in_flight as usize;
    let (mut rewound, mut fullest) = (0, 0);
    // the first batch of each lane never comes
    for at in 0..20 * most as u64 {
        let lane = 1 + (at % u64::from(LANES)) as u32;
        link.batch(0, commit_header(lane, 2 + at / u64::from(LANES), 1), ());
        fullest = fullest.max(link.waiting());
        assert!(link.waiting() <= most, "{} early batches", link.waiting());
        while let Some(output) = link.output() {
            match output {
                AggregatorOutput::Send(crate::wire::FromAggregator::Refuse(refuse)) => {
                    assert_eq!(refuse.expected, 1, "all of the lane must be sent again");
                    rewound += 1;
                }
                AggregatorOutput::Close { bye } => panic!("closed: {bye:?}"),
                _ => {}
            }
        }
    }
    assert!(
        fullest == most && rewound > 10,
        "{fullest} at most, {rewound} times rewound"
    );
}

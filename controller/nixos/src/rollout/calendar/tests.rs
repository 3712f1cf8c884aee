use proptest::prelude::*;
use proptest::sample::select;

use super::*;

const HOUR: Duration = Duration::from_hours(1);

fn window(cron: &str, hours: f64, zone: &str, kind: WindowKind) -> Window {
    Window::parse(cron, HOUR.mul_f64(hours), zone, kind).unwrap()
}

fn allow(cron: &str, hours: f64) -> Window {
    window(cron, hours, "Europe/Brussels", WindowKind::Allow)
}

fn deny(cron: &str, hours: f64) -> Window {
    window(cron, hours, "Europe/Brussels", WindowKind::Deny)
}

fn calendar(windows: impl IntoIterator<Item = Window>) -> Calendar {
    windows.into_iter().collect()
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn closed(next: &str) -> Opening {
    Opening::Closed { next: Some(at(next)) }
}

fn open(until: &str) -> Opening {
    Opening::Open { until: Some(at(until)) }
}

#[test]
fn without_windows_it_is_always_open() {
    let now = at("2026-11-21T12:00:00Z");
    assert_eq!(Calendar::default().at(now), Opening::Open { until: None });
}

#[test]
fn a_window_opens_and_closes_on_the_clock_of_its_zone() {
    let calendar = calendar([allow("0 2 * * *", 2.0)]);
    assert_eq!(calendar.at(at("2026-11-21T00:59:59.999Z")), closed("2026-11-21T01:00:00Z"));
    assert_eq!(calendar.at(at("2026-11-21T01:00:00Z")), open("2026-11-21T03:00:00Z"));
    assert_eq!(calendar.at(at("2026-11-21T02:59:59.999Z")), open("2026-11-21T03:00:00Z"));
    assert_eq!(calendar.at(at("2026-11-21T03:00:00Z")), closed("2026-11-22T01:00:00Z"));
    // In summer the same hour comes one hour earlier.
    assert_eq!(calendar.at(at("2026-07-01T12:00:00Z")), closed("2026-07-02T00:00:00Z"));
}

/// 2026-03-29: at 01:00Z the clocks of Brussels go from 02:00 to 03:00.
#[test]
fn a_time_that_the_clocks_skip_opens_after_they_skipped_it() {
    let calendar = calendar([allow("30 2 * * *", 1.0)]);
    assert_eq!(calendar.at(at("2026-03-28T12:00:00Z")), closed("2026-03-29T01:00:00Z"));
    assert_eq!(calendar.at(at("2026-03-29T01:00:00Z")), open("2026-03-29T02:00:00Z"));
    assert_eq!(calendar.at(at("2026-03-29T02:00:00Z")), closed("2026-03-30T00:30:00Z"));
}

/// 2026-10-25: at 01:00Z the clocks of Brussels go from 03:00 back to 02:00.
#[test]
fn a_time_that_the_clocks_repeat_opens_once() {
    let calendar = calendar([allow("30 2 * * *", 0.5)]);
    assert_eq!(calendar.at(at("2026-10-24T12:00:00Z")), closed("2026-10-25T00:30:00Z"));
    assert_eq!(calendar.at(at("2026-10-25T00:45:00Z")), open("2026-10-25T01:00:00Z"));
    assert_eq!(calendar.at(at("2026-10-25T01:00:00Z")), closed("2026-10-26T01:30:00Z"));
}

#[test]
fn every_hour_is_every_hour_although_the_clocks_repeat_one() {
    let calendar = calendar([deny("0 * * * *", 0.5)]);
    for hour in 0..4 {
        let now = at(&format!("2026-10-25T0{hour}:10:00Z"));
        assert_eq!(calendar.at(now), closed(&format!("2026-10-25T0{hour}:30:00Z")));
    }
}

#[test]
fn a_window_stays_open_over_a_change_of_the_clocks_for_as_long_as_it_says() {
    let calendar = calendar([allow("0 1 * * *", 3.0)]);
    assert_eq!(calendar.at(at("2026-03-29T00:00:00Z")), open("2026-03-29T03:00:00Z"));
    assert_eq!(calendar.at(at("2026-10-24T23:00:00Z")), open("2026-10-25T02:00:00Z"));
}

#[test]
fn windows_that_overlap_are_one() {
    let calendar =
        calendar([allow("0 2 * * *", 2.0), allow("0 3 * * *", 2.0), allow("0 5 * * *", 1.0)]);
    assert_eq!(calendar.at(at("2026-11-21T01:00:00Z")), open("2026-11-21T05:00:00Z"));
    // One that is longer than its period never closes; the answer is bounded all the same.
    let Opening::Open { until: Some(until) } = calendar_of_days().at(at("2026-11-21T01:00:00Z"))
    else {
        panic!("open");
    };
    assert!(until > at("2027-11-21T00:00:00Z"));
}

fn calendar_of_days() -> Calendar {
    calendar([allow("0 2 * * *", 25.0)])
}

#[test]
fn deny_wins_and_what_is_left_is_open() {
    let calendar = calendar([allow("0 2 * * *", 4.0), deny("0 3 * * *", 1.0)]);
    assert_eq!(calendar.at(at("2026-11-21T01:00:00Z")), open("2026-11-21T02:00:00Z"));
    assert_eq!(calendar.at(at("2026-11-21T02:00:00Z")), closed("2026-11-21T03:00:00Z"));
    assert_eq!(calendar.at(at("2026-11-21T03:00:00Z")), open("2026-11-21T05:00:00Z"));
}

#[test]
fn only_deny_leaves_all_else_open() {
    let calendar = calendar([deny("0 0 24 12 *", 72.0)]);
    assert_eq!(calendar.at(at("2026-12-25T12:00:00Z")), closed("2026-12-26T23:00:00Z"));
    assert_eq!(calendar.at(at("2026-12-26T23:00:00Z")), open("2027-12-23T23:00:00Z"));
}

#[test]
fn what_never_opens_is_told_after_bounded_work() {
    for never in [deny("* * * * *", 1.0 / 60.0), deny("0 0 * * *", 48.0)] {
        let calendar = calendar([allow("0 2 29 2 *", 1.0), never]);
        assert_eq!(calendar.at(at("2026-11-21T12:00:00Z")), Opening::Closed { next: None });
    }
}

#[test]
fn a_rare_day_is_found() {
    let calendar = calendar([allow("0 2 29 2 *", 1.0)]);
    assert_eq!(calendar.at(at("2096-03-01T00:00:00Z")), closed("2104-02-29T01:00:00Z"));
}

#[test]
fn days_are_read_as_in_crontab() {
    let next = |cron| {
        let Opening::Closed { next: Some(next) } =
            calendar([allow(cron, 0.25)]).at(at("2026-11-21T12:00:00Z"))
        else {
            panic!("{cron} is closed on that noon");
        };
        next.to_zoned(TimeZone::get("Europe/Brussels").unwrap()).strftime("%a %F %R").to_string()
    };
    assert_eq!(next("0 2 * * 7"), "Sun 2026-11-22 02:00");
    assert_eq!(next("0 2 * * SUN"), "Sun 2026-11-22 02:00");
    assert_eq!(next("0 2 * * 1-5"), "Mon 2026-11-23 02:00");
    assert_eq!(next("15,45 */6 * * *"), "Sat 2026-11-21 18:15");
    // The third Tuesday, the last Friday, the last day, the weekday nearest to the first.
    assert_eq!(next("0 2 * * 2#3"), "Tue 2026-12-15 02:00");
    assert_eq!(next("0 2 * * 5L"), "Fri 2026-11-27 02:00");
    assert_eq!(next("0 2 L * *"), "Mon 2026-11-30 02:00");
    assert_eq!(next("0 2 1W * *"), "Tue 2026-12-01 02:00");
    // Both a day of the month and one of the week: either will do.
    assert_eq!(next("0 2 13 * 5"), "Fri 2026-11-27 02:00");
}

#[test]
fn what_is_no_window_is_refused_and_told_why() {
    let refused = |cron: &str, open: Duration, zone: &str| {
        Window::parse(cron, open, zone, WindowKind::Allow).unwrap_err().to_string()
    };
    for cron in [
        "",
        "0 2 * *",
        "0 0 2 * * *",
        "@daily",
        "60 2 * * *",
        "0 24 * * *",
        "0 2 0 * *",
        "0 2 * * 8",
        "x 2 * * *",
        "5-1 2 * * *",
        "*/0 2 * * *",
    ] {
        let said = refused(cron, HOUR, "UTC");
        assert!(
            said.starts_with(&format!("cron of a window {cron:?} is not accepted: wants five")),
            "{said}"
        );
    }
    for cron in ["0 2 30 2 *", "0 2 31 4,6 *"] {
        let said = refused(cron, HOUR, "UTC");
        assert!(said.ends_with("wants a day that exists: this one never comes"), "{said}");
    }
    for open in [Duration::ZERO, Duration::from_hours(24 * 367), Duration::MAX] {
        assert!(refused("0 2 * * *", open, "UTC").contains("duration of a window"));
    }
    for zone in ["", "Europe/Ghent", "../UTC", "CET-1", "local"] {
        assert!(refused("0 2 * * *", HOUR, zone).contains("IANA"), "{zone}");
    }
}

fn windows(kind: WindowKind) -> impl Strategy<Value = Vec<Window>> {
    let crons =
        ["0 2 * * *", "30 1 * * 1-5", "0 */4 * * *", "15 22 * * 5", "30 2 L * *", "0 0 1 * *"];
    let zones =
        ["UTC", "Europe/Brussels", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe"];
    let one = (select(crons.to_vec()), 15..75_u64, select(zones.to_vec())).prop_map(
        move |(cron, minutes, zone)| {
            Window::parse(cron, Duration::from_mins(minutes), zone, kind).unwrap()
        },
    );
    prop::collection::vec(one, 0..4)
}

/// Any second of 2026: both changes of the clocks are within.
fn moments() -> impl Strategy<Value = Timestamp> {
    (1_767_225_600..1_798_761_600_i64).prop_map(|second| Timestamp::from_second(second).unwrap())
}

proptest! {
    #[test]
    fn an_answer_holds_until_its_edge_and_not_longer(
        allow in windows(WindowKind::Allow), deny in windows(WindowKind::Deny), now in moments(),
        part in 0.0..1.0_f64,
    ) {
        let calendar: Calendar = allow.into_iter().chain(deny).collect();
        let answer = calendar.at(now);
        let edge = match answer {
            Opening::Open { until } => until,
            Opening::Closed { next } => next,
        };
        if let Some(edge) = edge {
            prop_assert!(edge > now);
            let second = SignedDuration::from_secs(1);
            prop_assert_eq!(calendar.at(edge - second), answer, "the second before {}", edge);
            prop_assert_ne!(calendar.at(edge).is_open(), answer.is_open(), "at {}", edge);
            let between = now + SignedDuration::from_secs_f64((edge - now).total(jiff::Unit::Second).unwrap() * part);
            prop_assert!(between >= edge || calendar.at(between) == answer, "at {}", between);
        }
    }

    #[test]
    fn deny_wins(
        allow in windows(WindowKind::Allow), deny in windows(WindowKind::Deny), now in moments(),
    ) {
        let only_deny: Calendar = deny.iter().cloned().collect();
        let only_allow: Calendar = allow.iter().cloned().collect();
        let both: Calendar = allow.into_iter().chain(deny).collect();
        prop_assert_eq!(
            both.at(now).is_open(),
            only_deny.at(now).is_open() && only_allow.at(now).is_open(),
        );
    }

    /// Against a search that knows nothing but the clock on the wall: a window is open if one of the
    /// minutes that it could have opened in matches. Days on which clocks change are left out.
    #[test]
    fn a_window_is_open_after_a_minute_that_matches(minute in 0..525_600_i64, open in 1..600_i64) {
        let window = window("30 1 * * 1-5", 0.0 + f64::from(i32::try_from(open).unwrap()) / 60.0, "UTC", WindowKind::Allow);
        let start = at("2026-01-01T00:00:00Z");
        let now = start + SignedDuration::from_mins(minute);
        let matches = |at: Timestamp| {
            let local = at.to_zoned(TimeZone::UTC);
            (local.hour(), local.minute()) == (1, 30)
                && local.weekday().to_monday_one_offset() <= 5
        };
        let opened = (0..open).any(|back| matches(now - SignedDuration::from_mins(back)));
        prop_assert_eq!(calendar([window]).at(now).is_open(), opened);
    }
}

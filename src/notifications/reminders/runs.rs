//! When a workspace's reminders leave: once a day, at an hour of its own zone.

use chrono::{DateTime, MappedLocalTime, NaiveDate, NaiveDateTime, NaiveTime, Offset, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;
use entity::workspace;

use crate::error::{Error, Result};

/// The run of one day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    /// In the workspace's zone.
    pub(super) day: NaiveDate,
    pub(super) at: DateTime<Utc>,
}

/// The workspace's zone.
pub(super) fn zone(workspace: &workspace::Model) -> Result<Tz> {
    workspace.time_zone.parse().map_err(|_| Error::internal("a workspace in no time zone"))
}

/// The workspace's last run that has come by `now`.
pub(super) fn last_run(workspace: &workspace::Model, now: DateTime<Utc>) -> Result<Run> {
    let time = NaiveTime::parse_from_str(&workspace.reminder_time, "%H:%M");
    let time = time.map_err(|_| Error::internal("a workspace without a reminder time"))?;
    last(zone(workspace)?, time, now).ok_or_else(|| Error::internal("a clock beyond all calendars"))
}

fn last(zone: Tz, time: NaiveTime, now: DateTime<Utc>) -> Option<Run> {
    let today = now.with_timezone(&zone).date_naive();
    // Around a change of the zone's offset, yesterday's run may come after midnight.
    let days = (-2..=1).filter_map(|days| today.checked_add_signed(TimeDelta::days(days)));
    let runs = days.map(|day| Run { day, at: instant(zone, day.and_time(time)) });
    runs.filter(|run| run.at <= now).max_by_key(|run| (run.at, run.day))
}

/// A local time as RFC 5545 §3.3.5 reads it: one that occurs twice is the first, one that is left out goes by the offset
/// before the gap.
fn instant(zone: Tz, local: NaiveDateTime) -> DateTime<Utc> {
    match zone.from_local_datetime(&local) {
        MappedLocalTime::Single(at) | MappedLocalTime::Ambiguous(at, _) => at.to_utc(),
        MappedLocalTime::None => {
            let before = zone.offset_from_utc_datetime(&(local - TimeDelta::days(1))).fix();
            (local - before).and_utc()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    /// The runs from `from` until before `to`, found as a server would that looks every ten minutes.
    fn runs(zone: &str, time: &str, from: &str, to: &str) -> Vec<String> {
        let (zone, time) = (zone.parse().unwrap(), NaiveTime::parse_from_str(time, "%H:%M").unwrap());
        let (from, to) = (at(from), at(to));
        let looks = (0..).map(|n| from + TimeDelta::minutes(10 * n)).take_while(|now| *now < to);
        let mut runs: Vec<Run> = looks.map(|now| last(zone, time, now).unwrap()).filter(|run| run.at >= from).collect();
        runs.dedup();
        runs.iter().map(|run| format!("{} {}", run.day, run.at.format("%m-%dT%H:%MZ"))).collect()
    }

    #[test]
    fn a_run_comes_once_a_day_on_the_days_when_clocks_change_and_where_they_never_do() {
        for (zone, time, from, to, expected) in [
            // Clocks go from 02:00 to 03:00 in the night to 29 March 2026.
            (
                "Europe/Berlin",
                "07:00",
                "2026-03-28T00:00:00Z",
                "2026-03-31T00:00:00Z",
                &["2026-03-28 03-28T06:00Z", "2026-03-29 03-29T05:00Z", "2026-03-30 03-30T05:00Z"][..],
            ),
            (
                "Europe/Berlin",
                "02:30",
                "2026-03-28T00:00:00Z",
                "2026-03-31T00:00:00Z",
                &[
                    "2026-03-28 03-28T01:30Z",
                    // 03:30, as 02:30 would have been.
                    "2026-03-29 03-29T01:30Z",
                    "2026-03-30 03-30T00:30Z",
                ],
            ),
            // From 03:00 back to 02:00 in the night to 25 October 2026.
            (
                "Europe/Berlin",
                "02:30",
                "2026-10-24T00:00:00Z",
                "2026-10-27T00:00:00Z",
                &["2026-10-24 10-24T00:30Z", "2026-10-25 10-25T00:30Z", "2026-10-26 10-26T01:30Z"],
            ),
            (
                "Europe/Berlin",
                "07:00",
                "2026-10-24T00:00:00Z",
                "2026-10-27T00:00:00Z",
                &["2026-10-24 10-24T05:00Z", "2026-10-25 10-25T06:00Z", "2026-10-26 10-26T06:00Z"],
            ),
            // In the nights to 8 March and to 1 November 2026.
            (
                "America/New_York",
                "02:00",
                "2026-03-07T05:00:00Z",
                "2026-03-10T04:00:00Z",
                &["2026-03-07 03-07T07:00Z", "2026-03-08 03-08T07:00Z", "2026-03-09 03-09T06:00Z"],
            ),
            (
                "America/New_York",
                "01:00",
                "2026-10-31T04:00:00Z",
                "2026-11-03T04:00:00Z",
                &["2026-10-31 10-31T05:00Z", "2026-11-01 11-01T05:00Z", "2026-11-02 11-02T06:00Z"],
            ),
            (
                "America/Phoenix",
                "07:00",
                "2026-03-07T07:00:00Z",
                "2026-03-10T07:00:00Z",
                &["2026-03-07 03-07T14:00Z", "2026-03-08 03-08T14:00Z", "2026-03-09 03-09T14:00Z"],
            ),
            (
                "America/Phoenix",
                "07:00",
                "2026-10-31T07:00:00Z",
                "2026-11-03T07:00:00Z",
                &["2026-10-31 10-31T14:00Z", "2026-11-01 11-01T14:00Z", "2026-11-02 11-02T14:00Z"],
            ),
            // Half an hour forward in the night to 4 October 2026.
            (
                "Australia/Lord_Howe",
                "02:15",
                "2026-10-02T15:00:00Z",
                "2026-10-05T15:00:00Z",
                &["2026-10-03 10-02T15:45Z", "2026-10-04 10-03T15:45Z", "2026-10-05 10-04T15:15Z"],
            ),
            // Clocks change at midnight: 00:00 is left out on 6 September 2026.
            (
                "America/Santiago",
                "00:00",
                "2026-09-05T03:00:00Z",
                "2026-09-08T02:00:00Z",
                &["2026-09-05 09-05T04:00Z", "2026-09-06 09-06T04:00Z", "2026-09-07 09-07T03:00Z"],
            ),
            // There was no 30 December 2011.
            (
                "Pacific/Apia",
                "07:00",
                "2011-12-29T00:00:00Z",
                "2012-01-01T00:00:00Z",
                &["2011-12-29 12-29T17:00Z", "2011-12-31 12-30T17:00Z", "2012-01-01 12-31T17:00Z"],
            ),
        ] {
            assert_eq!(runs(zone, time, from, to), expected, "{zone} at {time}");
        }
    }

    #[test]
    fn a_run_has_come_at_its_instant_and_not_a_microsecond_before() {
        let zone = chrono_tz::America::Phoenix;
        let seven = NaiveTime::from_hms_opt(7, 0, 0).unwrap();
        let run = at("2026-11-27T14:00:00Z");
        assert_eq!(last(zone, seven, run).unwrap().at, run);
        let before = last(zone, seven, run - TimeDelta::microseconds(1)).unwrap();
        assert_eq!(before.at, run - TimeDelta::days(1));
    }
}

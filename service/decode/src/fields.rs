//! The five things that a mapping says of a reading.

use crate::fault::Field;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum MappedField {
    Value,
    SensorType,
    Id1,
    Id2,
    Time,
}

pub(crate) const FIELDS: [MappedField; 5] = [
    MappedField::Value,
    MappedField::SensorType,
    MappedField::Id1,
    MappedField::Id2,
    MappedField::Time,
];

impl MappedField {
    /// As its key in a mapping, and in a template.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Value => "value",
            Self::SensorType => "sensor_type",
            Self::Id1 => "id1",
            Self::Id2 => "id2",
            Self::Time => "time",
        }
    }

    pub(crate) fn index(self) -> usize {
        self as usize
    }

    /// As faults name it.
    pub(crate) fn of_fault(self) -> Field {
        match self {
            Self::Value => Field::SensorValue,
            Self::SensorType => Field::SensorType,
            Self::Id1 => Field::Id1,
            Self::Id2 => Field::Id2,
            Self::Time => Field::TimestampUs,
        }
    }
}

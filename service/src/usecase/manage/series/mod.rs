//! The series, where readings have their numbers: listed, tagged, removed, and looked after.

mod catalog;
mod keeper;
mod seen;

pub use self::{
    catalog::{SeriesError, Tagged, TaggedSeries, Tagging, TaggingFault},
    keeper::{SeriesKeeper, SeriesStanding},
};

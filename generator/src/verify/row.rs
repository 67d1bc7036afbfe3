/// A row, as far as it matters here.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row<'a> {
    pub(super) id1: i32,
    pub(super) id2: &'a str,
    pub(super) sensor_type: &'a str,
    pub(super) value: f64,
    pub(super) timestamp_us: i64,
}

//! Queries as quantizers meet them: made ready once, then scored alone or several together.

use super::fronts::FrontQuery;
use crate::buffer::wipe_values;

/// A query made ready for scoring; reused from query to query.
#[derive(Clone, Debug, Default)]
pub struct Prepared {
    pub(super) query: Vec<f32>,
    pub(super) weights: Vec<f32>,
    pub(super) codes: Vec<i8>,
    pub(super) products: Vec<f32>,
    pub(super) tables: Vec<u8>,
    pub(super) scale: f32,
    pub(super) offset: f32,
    /// Of the codes.
    pub(super) sum: i32,
    /// The usual error of a score, where the query alone decides it.
    pub(super) spread: f32,
    /// For fronts of codes, where they are scored.
    pub(super) front: FrontQuery,
    /// What the rounding of the query adds to error bounds.
    pub(super) slack: f32,
    /// Of the length of the query.
    pub(super) square: f64,
}

/// Queries that are scored together.
pub struct Group<'a> {
    /// Each of them, for one quantizer.
    pub prepared: &'a [&'a Prepared],
    /// What the centroid itself scores, for each of them, where that is known well enough: see
    /// [`super::Quantizer::code_error`]. Else, and where it is not finite,
    /// it is computed.
    pub centroid_scores: Option<&'a [f32]>,
    /// Memory to copy them side by side; holds their values afterwards.
    pub gathered: &'a mut Vec<f32>,
}

impl Prepared {
    /// Overwrites the query.
    pub fn wipe(&mut self) {
        wipe_values(&mut self.query);
        wipe_values(&mut self.weights);
        wipe_values(&mut self.codes);
        wipe_values(&mut self.products);
        wipe_values(&mut self.tables);
        self.front = FrontQuery::default();
    }
}

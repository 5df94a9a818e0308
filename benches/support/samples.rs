//! Measuring clients in turn, so that whatever else the machine does is shared out fairly.

use crate::clients::Subject;

pub struct Samples(Vec<(Subject, Vec<f64>)>);

/// Measures A, B, C, A, B, C… The closure gets the client's place in the list.
pub fn interleave(
    rounds: usize,
    subjects: &[Subject],
    mut measure: impl FnMut(usize) -> f64,
) -> Samples {
    let mut samples: Vec<_> = subjects.iter().map(|subject| (*subject, Vec::new())).collect();
    for _ in 0..rounds {
        for (index, (_, values)) in samples.iter_mut().enumerate() {
            values.push(measure(index));
        }
    }
    Samples(samples)
}

impl Samples {
    fn of(&self, subject: Subject) -> &[f64] {
        let found = self.0.iter().find(|(of, _)| *of == subject);
        &found.expect("it was measured").1
    }

    pub fn median(&self, subject: Subject) -> f64 {
        median(self.of(subject).to_vec())
    }

    pub fn medians(&self) -> impl Iterator<Item = (Subject, f64)> {
        self.0.iter().map(|(subject, values)| (*subject, median(values.clone())))
    }

    /// The median of the rounds' ratios: both halves of each were measured under the same load.
    pub fn ratio(&self, subject: Subject, to: Subject) -> f64 {
        let (values, others) = (self.of(subject), self.of(to));
        median(values.iter().zip(others).map(|(value, other)| value / other).collect())
    }
}

pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

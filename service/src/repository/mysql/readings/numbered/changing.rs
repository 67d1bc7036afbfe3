//! Deletes and updates. The series are looked for before the change, which locks no more readings than it is of.

use super::{
    super::super::{
        answers::unexpected,
        series::Proof,
        statement::{Statement, force, listed},
    },
    Known, Leg, NumberedReadings, numbers,
};
use crate::{
    model::{Change, Selection, Series},
    repository::{RepositoryError, SeriesEra, Stretch},
};

impl NumberedReadings {
    pub(in super::super) async fn delete(
        &self,
        selection: &Selection,
        leg: u32,
        stretch: Stretch,
    ) -> Result<u64, RepositoryError> {
        let leg = self.leg(selection, leg).await?;
        let numbers = self.changed(&leg, selection, stretch).await?;
        if numbers.as_ref().is_some_and(Vec::is_empty) {
            return Ok(0);
        }
        let mut statement = Statement::new(&format!("DELETE readings FROM {}", self.table));
        statement
            .push(&self.force(&leg), [])
            .push(" WHERE TRUE", []);
        self.of_changed(&mut statement, numbers.as_deref(), selection, stretch);
        self.asking.affected(statement).await
    }

    fn force(&self, leg: &Leg) -> String {
        force(match leg {
            Leg::Of(_) => self.indexes.ids.as_ref(),
            Leg::All => self.indexes.time.as_ref(),
        })
    }

    /// The series of which a change is; None for all. They are looked for before the change, which would lock every reading
    /// that it had to look at beside another table.
    async fn changed(
        &self,
        leg: &Leg,
        selection: &Selection,
        stretch: Stretch,
    ) -> Result<Option<Vec<u32>>, RepositoryError> {
        match leg {
            Leg::Of(known) => Ok(Some(numbers(known))),
            Leg::All if selection.sensor_type.is_none() => Ok(None),
            Leg::All => {
                let known = self.within_stretch(selection, stretch).await?;
                Ok(Some(numbers(&known)))
            }
        }
    }

    /// Whose readings a change is of, behind `WHERE TRUE`.
    fn of_changed(
        &self,
        statement: &mut Statement,
        numbers: Option<&[u32]>,
        selection: &Selection,
        stretch: Stretch,
    ) {
        if let Some(numbers) = numbers {
            statement.push(&format!(" AND series_id IN ({})", listed(numbers)), []);
        }
        statement
            .of_time(self.shape(), selection.time)
            .within(stretch);
    }

    /// The series of which there are readings in a stretch of time, of the sensor type if one is given; without that type.
    async fn within_stretch(
        &self,
        selection: &Selection,
        stretch: Stretch,
    ) -> Result<Vec<Known>, RepositoryError> {
        let mut statement = Statement::new(&format!(
            "SELECT DISTINCT readings.series_id, id1, id2 FROM {}",
            self.table
        ));
        self.within_time(&mut statement, selection, true);
        statement.within(stretch);
        let rows = self.asking.rows(statement).await?.into_iter();
        rows.map(|row| {
            let (number, id1, id2) = mysql_async::from_row_opt(row).map_err(|_| unexpected())?;
            let series = Series {
                id1,
                id2,
                sensor_type: String::new(),
            };
            Ok(Known { number, series })
        })
        .collect()
    }

    pub(in super::super) async fn update(
        &self,
        selection: &Selection,
        leg: u32,
        stretch: Stretch,
        change: &Change,
    ) -> Result<u64, RepositoryError> {
        let leg = self.leg(selection, leg).await?;
        let renaming = match &change.sensor_type {
            None => None,
            Some(sensor_type) => Some(self.renaming(&leg, selection, stretch, sensor_type).await?),
        };
        let numbers = match &renaming {
            Some(renaming) => Some(renaming.numbers()),
            None => self.changed(&leg, selection, stretch).await?,
        };
        if numbers.as_ref().is_some_and(Vec::is_empty) {
            return Ok(0);
        }
        let mut statement = Statement::new(&format!("UPDATE {}", self.table));
        statement.push(&self.force(&leg), []);
        let mut before = " SET ";
        if let Some(value) = change.sensor_value {
            statement.push(" SET sensor_value = ?", [value.into()]);
            before = ", ";
        }
        if let Some(renaming) = &renaming {
            statement.push(before, []);
            renaming.push_new_number(&mut statement);
        }
        statement.push(" WHERE TRUE", []);
        self.of_changed(&mut statement, numbers.as_deref(), selection, stretch);
        let Some(renaming) = renaming else {
            return self.asking.affected(statement).await;
        };
        match renaming.proof.change(&self.asking, statement).await? {
            Some(changed) => Ok(changed),
            None => Err(self.naming.is_of_another_table(renaming.era)),
        }
    }

    /// Which numbers readings of the stretch get when their sensor type becomes another one.
    async fn renaming(
        &self,
        leg: &Leg,
        selection: &Selection,
        stretch: Stretch,
        sensor_type: &str,
    ) -> Result<Renaming, RepositoryError> {
        let known = match leg {
            Leg::Of(known) => known.clone(),
            Leg::All => self.within_stretch(selection, stretch).await?,
        };
        let renamed: Vec<(i32, &str, &str)> = known
            .iter()
            .map(|known| (known.series.id1, known.series.id2.as_str(), sensor_type))
            .collect();
        let given = self.naming.numbers(&renamed).await?;
        if let Some(reason) = given.refusal_within(&(0..renamed.len() as u32)) {
            return Err(RepositoryError::Data(reason));
        }
        Ok(Renaming {
            from_to: numbers(&known)
                .into_iter()
                .zip(given.numbers.iter().copied())
                .collect(),
            proof: given.proof,
            era: given.era,
        })
    }
}

/// From which numbers to which.
struct Renaming {
    from_to: Vec<(u32, u32)>,
    proof: Proof,
    era: SeriesEra,
}

impl Renaming {
    fn numbers(&self) -> Vec<u32> {
        self.from_to.iter().map(|&(from, _)| from).collect()
    }

    fn push_new_number(&self, statement: &mut Statement) {
        statement.push("series_id = CASE series_id", []);
        for (from, to) in &self.from_to {
            statement.push(&format!(" WHEN {from} THEN {to}"), []);
        }
        statement.push(" ELSE series_id END", []);
    }
}

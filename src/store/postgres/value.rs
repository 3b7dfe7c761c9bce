//! The store's values as PostgreSQL's, and back.
//!
//! Invariant: a type that the store doesn't have is an error, never guessed at.

use std::error::Error;

use bytes::BytesMut;
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};

use crate::store::StoreError;
use crate::store::database::{Column, Parameter, Place, Row};

/// As a statement takes them.
pub(super) fn references<'a>(parameters: &'a [Parameter<'a>]) -> Vec<&'a (dyn ToSql + Sync)> {
    parameters.iter().map(|parameter| parameter as &(dyn ToSql + Sync)).collect()
}

impl ToSql for Parameter<'_> {
    fn to_sql(
        &self,
        kind: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match *self {
            Self::Text(text) | Self::Optional(Some(text)) if is_text(kind) => {
                text.to_sql(kind, out)
            }
            Self::Bytes(bytes) if *kind == Type::BYTEA => bytes.to_sql(kind, out),
            Self::Integer(number) | Self::OptionalInteger(Some(number)) => match *kind {
                Type::INT8 => number.to_sql(kind, out),
                Type::INT4 => i32::try_from(number)?.to_sql(kind, out),
                _ => Err(other(kind)),
            },
            Self::Optional(None) | Self::OptionalInteger(None) => Ok(IsNull::Yes),
            Self::Text(_) | Self::Optional(Some(_)) | Self::Bytes(_) => Err(other(kind)),
        }
    }

    fn accepts(_: &Type) -> bool {
        // Which value it is decides, not its type.
        true
    }

    to_sql_checked!();
}

fn is_text(kind: &Type) -> bool {
    [Type::TEXT, Type::VARCHAR, Type::NAME].contains(kind)
}

fn other(kind: &Type) -> Box<dyn Error + Sync + Send> {
    format!("a parameter of another type than {kind}").into()
}

/// A row of an answer.
pub(super) fn row(row: &tokio_postgres::Row, place: &Place) -> Result<Row, StoreError> {
    let columns = (0..row.len()).map(|index| column(row, index).ok_or(index));
    let columns = columns.collect::<Result<_, _>>().map_err(|index| {
        let kind = row.columns()[index].type_();
        StoreError::Database(place.clone(), format!("a column of the type {kind}").into())
    })?;
    Ok(Row::new(columns, place.clone()))
}

fn column(row: &tokio_postgres::Row, index: usize) -> Option<Column> {
    let kind = row.columns()[index].type_();
    let column = match *kind {
        Type::INT8 => row.try_get::<_, Option<i64>>(index).ok()?.map(Column::Integer),
        Type::INT4 => {
            row.try_get::<_, Option<i32>>(index).ok()?.map(|number| Column::Integer(number.into()))
        }
        Type::BOOL => {
            row.try_get::<_, Option<bool>>(index).ok()?.map(|truth| Column::Integer(truth.into()))
        }
        Type::BYTEA => row.try_get::<_, Option<Vec<u8>>>(index).ok()?.map(Column::Bytes),
        _ if is_text(kind) => row.try_get::<_, Option<String>>(index).ok()?.map(Column::Text),
        _ => return None,
    };
    Some(column.unwrap_or(Column::Null))
}

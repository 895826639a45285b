//! The YAML documents as they are written, and their checks.
//!
//! Source: Open Data Contract Standard v3.1.0, the parts that a table needs; unknown keys of columns are refused.

use serde::Deserialize;
use serde_json::Value;

use super::{CONTRACT_VERSION, Column, PARTITION_COLUMNS, TableContract, arrow_type};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    api_version: String,
    kind: String,
    version: String,
    description: Description,
    schema: Vec<Object>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Description {
    purpose: String,
    usage: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Object {
    name: String,
    business_name: String,
    description: String,
    tags: Vec<String>,
    properties: Vec<Property>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Property {
    name: String,
    business_name: String,
    logical_type: String,
    #[serde(default)]
    logical_type_options: Option<LogicalTypeOptions>,
    physical_type: String,
    #[serde(default)]
    items: Option<Items>,
    required: bool,
    #[serde(default)]
    primary_key: bool,
    #[serde(default)]
    primary_key_position: Option<u32>,
    #[serde(default)]
    partitioned: bool,
    #[serde(default)]
    partition_key_position: Option<usize>,
    description: String,
    #[serde(default)]
    examples: Vec<Value>,
    #[serde(default)]
    quality: Vec<Quality>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LogicalTypeOptions {
    format: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Items {
    logical_type: String,
    physical_type: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Quality {
    metric: String,
    arguments: Arguments,
    must_be: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Arguments {
    valid_values: Vec<Value>,
}

/// Reads one document.
pub(super) fn parse(yaml: &str) -> Result<TableContract, String> {
    let document: Document = serde_saphyr::from_str(yaml).map_err(|error| error.to_string())?;
    if document.api_version != "v3.1.0" || document.kind != "DataContract" {
        return Err(format!("`{}` of `{}` is not understood", document.kind, document.api_version));
    }
    if document.version != CONTRACT_VERSION {
        return Err(format!("its version is `{}`, the contract's is `{CONTRACT_VERSION}`", document.version));
    }
    let [object] = <[Object; 1]>::try_from(document.schema).map_err(|_| "it must describe one table".to_owned())?;
    let journal = match object.tags.as_slice() {
        [tag] if tag == "journal" => true,
        [tag] if tag == "picture" => false,
        tags => return Err(format!("its tags are {tags:?}, not one of `picture`, `journal`")),
    };
    check_partitions(&object.properties)?;
    let columns = object.properties.into_iter().map(column).collect::<Result<Vec<_>, _>>()?;
    check_names_and_key(&columns)?;
    Ok(TableContract {
        name: object.name,
        business_name: object.business_name,
        description: object.description,
        purpose: document.description.purpose,
        usage: document.description.usage,
        columns,
        journal,
    })
}

fn column(property: Property) -> Result<Column, String> {
    let name = property.name;
    let physical = property.physical_type;
    let data_type = arrow_type(&physical).ok_or_else(|| format!("`{name}` has the unknown type `{physical}`"))?;
    let logical = logical_type(&physical);
    let items_fit = match (&property.items, physical.strip_prefix("array<")) {
        (None, None) => true,
        (Some(items), Some(element)) => {
            element.strip_suffix('>') == Some(&items.physical_type)
                && items.logical_type == logical_type(&items.physical_type)
        }
        _ => false,
    };
    let options_fit = property.logical_type_options.as_ref().map(|options| options.format.as_str())
        == (physical == "binary").then_some("binary");
    if property.logical_type != logical || !items_fit || !options_fit {
        return Err(format!("the logical type of `{name}` does not fit its physical type `{physical}`"));
    }
    if property.primary_key != property.primary_key_position.is_some() {
        return Err(format!("`{name}` has only one of `primaryKey` and `primaryKeyPosition`"));
    }
    let allowed_values = match <[Quality; 1]>::try_from(property.quality) {
        Ok([Quality { metric, arguments, must_be: 0 }]) if metric == "invalidValues" => {
            arguments.valid_values.iter().map(text).collect()
        }
        Ok(_) => return Err(format!("the quality rule of `{name}` is not understood")),
        Err(rules) if rules.is_empty() => Vec::new(),
        Err(_) => return Err(format!("`{name}` has several quality rules")),
    };
    Ok(Column {
        name,
        data_type,
        delta_type: physical,
        nullable: !property.required,
        description: property.description,
        business_name: property.business_name,
        allowed_values,
        key_position: property.primary_key_position,
        example: property.examples.first().map(text),
    })
}

/// The logical type that the standard has for a physical one.
fn logical_type(physical: &str) -> &str {
    match physical {
        "byte" | "short" | "integer" | "long" => "integer",
        "string" | "binary" => "string",
        "boolean" | "date" | "timestamp" => physical,
        list if list.starts_with("array<") => "array",
        _ => "number",
    }
}

fn check_partitions(properties: &[Property]) -> Result<(), String> {
    for (index, property) in properties.iter().enumerate() {
        let expected = PARTITION_COLUMNS.get(index);
        let position = expected.map(|_| index + 1);
        if property.partitioned != expected.is_some()
            || property.partition_key_position != position
            || expected.is_some_and(|name| *name != property.name)
        {
            return Err(format!("the partitioning of `{}` is not (dt, pipeline)", property.name));
        }
    }
    if properties.len() > PARTITION_COLUMNS.len() { Ok(()) } else { Err("it has too few columns".to_owned()) }
}

fn check_names_and_key(columns: &[Column]) -> Result<(), String> {
    let mut names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
    names.sort_unstable();
    if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(format!("there are two columns `{}`", pair[0]));
    }
    let mut positions: Vec<u32> = columns.iter().filter_map(|column| column.key_position).collect();
    positions.sort_unstable();
    if positions.iter().zip(1..).all(|(&position, expected)| position == expected) {
        Ok(())
    } else {
        Err(format!("the key positions are {positions:?}"))
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

//! The JSON Schema of a plan, made from the same table as its reading, so that editors complete and check it.

use serde_json::{Map, Value, json};

use super::shape::{Key, Kind, PLAN, Shape};

const NAME: &str = "^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$";
const SIZE: &str = "^[0-9]+(\\.[0-9]+)? ?(B|KiB|MiB|GiB|TiB)$";
const RATE: &str = "^(unlimited|[0-9]+(\\.[0-9]+)? ?(B|KiB|MiB|GiB|TiB) ?/s)$";
const DURATION: &str = "^([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?$";
const WINDOW: &str = "^[0-9]{1,2}:[0-9]{2} ?- ?[0-9]{1,2}:[0-9]{2}$";
const SECRET: &str = "^\\$\\{[A-Za-z_][A-Za-z0-9_]*\\}$";
const VERSION: &str = "^[^/]+/[^/]+$";
const CRON: &str = "^\\S+ +\\S+ +\\S+ +\\S+ +\\S+$";

/// The JSON Schema (draft 2020-12) of plan files, as text that ends with a newline.
#[must_use]
pub fn json_schema() -> String {
    let mut schema = mapping(&PLAN);
    let head = [
        ("$schema", json!("https://json-schema.org/draft/2020-12/schema")),
        ("$id", json!("plan.schema.json")),
        ("title", json!("Backhaul plan")),
    ];
    if let Value::Object(members) = &mut schema {
        members.extend(head.map(|(name, value)| (name.to_owned(), value)));
    }
    format!("{schema:#}\n")
}

fn mapping(shape: &Shape) -> Value {
    let properties: Map<String, Value> = shape.keys.iter().map(|key| (key.name.to_owned(), property(key))).collect();
    let required: Vec<&str> = shape.keys.iter().filter(|key| key.required).map(|key| key.name).collect();
    let mut schema = json!({
        "type": "object",
        "description": shape.doc,
        "additionalProperties": false,
        "properties": properties,
    });
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    if !shape.one_of.is_empty() {
        schema["oneOf"] = shape.one_of.iter().map(|keys| json!({ "required": keys })).collect();
    }
    schema
}

fn property(key: &Key) -> Value {
    let mut schema = value(key.kind);
    let default = key.default.map(|default| format!(" Default: {default}.")).unwrap_or_default();
    schema["description"] = json!(format!("{}{default}", key.doc));
    schema
}

fn value(kind: Kind) -> Value {
    let list = |items: Value| json!({ "type": "array", "items": items, "minItems": 1 });
    let text = |max: usize| json!({ "type": "string", "minLength": 1, "maxLength": max });
    let pattern = |pattern: &str| json!({ "type": "string", "pattern": pattern });
    match kind {
        Kind::Integer { min, max } => json!({ "type": "integer", "minimum": min, "maximum": max }),
        Kind::Bytes => json!({ "type": "integer", "minimum": 0 }),
        Kind::Text { max } => text(max),
        Kind::Template => text(super::shape::NAME_CHARS_MAX),
        Kind::ObjectKey => text(crate::id::KEY_BYTES_MAX),
        Kind::Reference | Kind::TimeZone => json!({ "type": "string", "minLength": 1 }),
        Kind::Secret => pattern(SECRET),
        Kind::Boolean => json!({ "type": "boolean" }),
        Kind::Name | Kind::Region => pattern(NAME),
        Kind::Regions => {
            let mut regions = list(pattern(NAME));
            regions["uniqueItems"] = json!(true);
            regions
        }
        Kind::Sha256 => pattern("^[0-9A-Fa-f]{64}$"),
        Kind::Size { .. } => pattern(SIZE),
        Kind::Duration => {
            let mut duration = pattern(DURATION);
            duration["minLength"] = json!(2);
            duration
        }
        Kind::Timetable => json!({ "oneOf": [pattern(RATE), {
            "type": "object",
            "additionalProperties": false,
            "properties": { "default": pattern(RATE) },
            "patternProperties": { WINDOW: pattern(RATE) },
        }] }),
        Kind::Choice(words, _) => json!({ "enum": words }),
        Kind::Cron => pattern(CRON),
        Kind::Texts { max } => json!({ "oneOf": [text(max), list(text(max))] }),
        Kind::Tenants => json!({ "oneOf": [text(4096), {
            "type": "object",
            "minProperties": 1,
            "additionalProperties": text(super::catalog_spec::TENANT_CHARS_MAX),
        }] }),
        Kind::Versions => json!({
            "type": "object",
            "propertyNames": { "pattern": VERSION },
            "additionalProperties": pattern(VERSION),
        }),
        Kind::Map(shape) => mapping(shape),
        Kind::Typed(typed) => match typed.shapes {
            [(_, only)] => mapping(only),
            all => json!({ "oneOf": all.iter().map(|(_, shape)| mapping(shape)).collect::<Vec<_>>() }),
        },
        Kind::Named(shape) => json!({
            "type": "object",
            "propertyNames": { "pattern": NAME },
            "additionalProperties": mapping(shape),
        }),
        Kind::List(shape) => json!({ "type": "array", "items": mapping(shape) }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every key below `shape` as `section.key`, each shape once.
    fn paths(shape: &'static Shape, above: &str) -> Vec<String> {
        let path = |key: &Key| format!("{above}{}", key.name);
        let inner = shape.keys.iter().flat_map(|key| match key.kind {
            Kind::Map(inner) => paths(inner, &format!("{}.", path(key))),
            Kind::Named(inner) => paths(inner, &format!("{}.*.", path(key))),
            Kind::Typed(typed) => {
                typed.shapes.iter().flat_map(|(word, inner)| paths(inner, &format!("{}({word}).", path(key)))).collect()
            }
            Kind::List(inner) => paths(inner, &format!("{}[].", path(key))),
            _ => Vec::new(),
        });
        shape.keys.iter().map(path).chain(inner.collect::<Vec<_>>()).collect()
    }

    fn paths_in(value: &serde_yaml::Value, above: &str, shape: &'static Shape, found: &mut Vec<String>) {
        let serde_yaml::Value::Mapping(mapping) = value else { return };
        for (name, value) in mapping {
            let Some((_, key)) = name.as_str().and_then(|name| shape.find(name)) else { continue };
            let path = format!("{above}{}", key.name);
            match (key.kind, value) {
                (Kind::Map(inner), value) => paths_in(value, &format!("{path}."), inner, found),
                (Kind::Typed(typed), value) => {
                    let (word, inner) =
                        typed.shapes.iter().find(|(word, _)| value["type"] == *word).expect("a known type");
                    paths_in(value, &format!("{path}({word})."), inner, found);
                }
                (Kind::Named(inner), serde_yaml::Value::Mapping(named)) => {
                    for value in named.values() {
                        paths_in(value, &format!("{path}.*."), inner, found);
                    }
                }
                (Kind::List(inner), serde_yaml::Value::Sequence(items)) => {
                    for value in items {
                        paths_in(value, &format!("{path}[]."), inner, found);
                    }
                }
                _ => {}
            }
            found.push(path);
        }
    }

    #[test]
    fn the_commented_plan_has_every_key() {
        let text = include_str!("../../plans/every-key.yaml");
        let value: serde_yaml::Value = serde_yaml::from_str(text).expect("YAML");
        let mut found = Vec::new();
        paths_in(&value, "", &PLAN, &mut found);
        let missing: Vec<String> = paths(&PLAN, "").into_iter().filter(|path| !found.contains(path)).collect();
        assert_eq!(missing, [""; 0], "plans/every-key.yaml lacks these");
    }

    #[test]
    fn the_commented_plan_names_every_default_as_it_is() {
        let text = include_str!("../../plans/every-key.yaml");
        for (key, default) in [
            ("part_size", "32MiB"),
            ("concurrency", "16"),
            ("memory", "192MiB"),
            ("attempts", "10"),
            ("max_delay", "2m"),
        ] {
            assert!(text.contains(&format!("\n  {key}: {default} ")), "{key}: {default}");
        }
    }

    #[test]
    fn the_schema_describes_every_key() {
        let schema: Value = serde_json::from_str(&json_schema()).expect("JSON");
        let region = &schema["properties"]["regions"]["additionalProperties"]["properties"];
        let stores = region["store"]["oneOf"].as_array().expect("a list");
        let types: Vec<&Value> = stores.iter().map(|store| &store["properties"]["type"]["enum"][0]).collect();
        assert_eq!(types, ["file", "s3", "gcs", "azure", "swift"]);
        assert_eq!(schema["properties"]["backups"]["items"]["oneOf"][2], json!({ "required": ["select"] }));
        assert_eq!(schema["required"], json!(["version", "name", "regions", "backups"]));
    }
}

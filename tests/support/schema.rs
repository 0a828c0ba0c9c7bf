//! Holds JSON to the part of JSON Schema that the API's document uses.

use serde_json::Value;

/// Says where and how `value` departs from `schema` of `document`.
pub fn departs(document: &Value, schema: &Value, value: &Value, at: &str) -> Vec<String> {
    if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
        let target = document.pointer(reference.trim_start_matches('#'));
        let target = target.unwrap_or_else(|| panic!("{reference} is not in the document"));
        return departs(document, target, value, at);
    }
    if let Some(choices) = schema.get("anyOf").and_then(Value::as_array) {
        let found: Vec<_> = choices.iter().map(|one| departs(document, one, value, at)).collect();
        let fits = found.iter().any(Vec::is_empty);
        return if fits { Vec::new() } else { found.into_iter().next().unwrap_or_default() };
    }
    let kind = schema.get("type").and_then(Value::as_str).unwrap_or("any");
    let fits = match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "null" => value.is_null(),
        _ => true,
    };
    if !fits {
        return vec![format!("{at}: expected {kind}, got {value}")];
    }
    let mut found = Vec::new();
    if let (Some(items), Some(list)) = (schema.get("items"), value.as_array()) {
        for (index, item) in list.iter().enumerate() {
            found.extend(departs(document, items, item, &format!("{at}[{index}]")));
        }
    }
    if let (Some(properties), Some(fields)) = (schema.get("properties"), value.as_object()) {
        for name in schema.get("required").and_then(Value::as_array).into_iter().flatten() {
            if !fields.contains_key(name.as_str().unwrap_or("")) {
                found.push(format!("{at}: {name} is missing"));
            }
        }
        for (name, value) in fields {
            match properties.get(name) {
                Some(schema) => {
                    found.extend(departs(document, schema, value, &format!("{at}.{name}")));
                }
                None if schema["additionalProperties"] == true => {}
                None => found.push(format!("{at}.{name} is not in the document")),
            }
        }
    }
    found
}

package event

import _ "embed"

//go:embed event.schema.json
var schemaText string

// JSONSchema returns the JSON Schema of the form in which events are stored and exported, one a line. It describes what this
// version writes, to the last field: the form grows by new ones.
func JSONSchema() string { return schemaText }

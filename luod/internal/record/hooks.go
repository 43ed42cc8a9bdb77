package record

// Owed is what hooks are still to be told.
type Owed struct {
	Phase       string   `json:"phase"`
	Generation  uint64   `json:"generation"`
	Environment []string `json:"environment"`
}

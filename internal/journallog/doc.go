// Package journallog is how luod's daemons write to the journal: a line a record with its
// priority, and what the message catalog explains with its fields.
package journallog

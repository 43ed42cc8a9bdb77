// Package holdings is what luod holds for units: descriptors in the vault, what came through
// an update and waits to be fetched, whole sessions, and what the report says of all of it.
// It gives each unit its own and nobody else anything, and lets go of nothing that a unit may
// still need. It knows nothing of how an update is made.
package holdings

// Package turnedaway has the units that asked for their memory while nobody knew what they
// have, and whose start failed of it. When it is known, those that have something are started
// once more.
package turnedaway

// Package outcome keeps the report of this boot's update true: what came back later than the
// rest, what PID 1 carried and has or has not brought back, who has fetched its own. When all
// have, it puts the report to those of earlier updates.
package outcome

// Package storeback waits until units have back what came out of their fd stores, and then
// lets go of luod's copies: from then on PID 1 keeps them as long as the unit wants. It
// believes what PID 1 shows of a store, and nothing else.
package storeback

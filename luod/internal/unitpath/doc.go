// Package unitpath finds the unit files and drop-ins that mention a word, in the directories
// in which PID 1 looks for them, and says whose they may be. PID 1 would take a second for it
// where there are a hundred services. It reads as PID 1 does, and changes nothing.
package unitpath

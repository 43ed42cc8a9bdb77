// Package intake is what comes out of units' fd stores for one update: which of it luod has
// not got yet, under which names it comes along, and what stands for what. It is told by the
// program that copies the stores, call by call, and believes only what it can see.
package intake

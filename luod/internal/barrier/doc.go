// Package barrier decides when a live update may go on: when every service that
// takes part is ready, or may be left behind. It knows who waits for whom, whose
// turn it is and how long each may take, and does nothing itself: time comes in
// with each call, and what is to be done goes out as the answer. It is used by
// one goroutine.
package barrier

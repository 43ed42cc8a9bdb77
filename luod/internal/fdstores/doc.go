// Package fdstores says what becomes of the entries of a unit's fd store: which come along
// and how, which nobody carries, what keeps luod-reissue from putting them back, and
// afterwards which of them PID 1 has again. It asks nobody; what PID 1 says of a store is
// handed in.
package fdstores

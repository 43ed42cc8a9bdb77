// Package busserver is org.luod.LiveUpdate1 on a message bus: it reads what anybody sends,
// finds out who calls, asks polkit where an admin is meant, and passes everything else on
// to luod, which holds the memory and does not read from the bus. What one user may send
// is bounded in number, bytes and descriptors, before anything of it is decoded. It keeps
// nothing that is not luod's as well, so that it may be killed at any moment.
package busserver

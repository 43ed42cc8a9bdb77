// Package compression unpacks what kernels and their initial RAM file systems
// are packed with. It knows a format by its first bytes, streams, and bounds
// both what comes out and what a dictionary may take, since the file may be
// hostile. It writes nothing and starts no program.
package compression

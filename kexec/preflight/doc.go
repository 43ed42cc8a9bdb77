// Package preflight says before a live update whether the kernel to be booted can
// take over what the running one hands it. Each check is ok, warn or fail, with
// the reason and what to do; what can't be known is a warning and never ok. It
// reads, and changes nothing.
package preflight

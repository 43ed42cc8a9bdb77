// Package treearchive packs a directory into a file and puts it back as it was:
// contents, owners, modes, times, extended attributes and with them access control
// lists, symbolic and hard links, and holes. The format is tar with PAX records
// (archive/tar). Sockets are left out, since nobody listens on them any more, and
// device nodes are refused.
package treearchive

// Package hooksdir finds the hooks that an admin or a package has put into the
// hooks.d directories. Which file counts, and which hides or masks another, is as
// systemd does it with its drop-ins. It runs nothing.
package hooksdir

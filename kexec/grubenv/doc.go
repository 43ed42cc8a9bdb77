// Package grubenv reads the variables that GRUB keeps in a file, and puts them into the text
// of boot entries, as Fedora's have them. It does so as GRUB does.
package grubenv

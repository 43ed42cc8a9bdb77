// Package beneath opens files by way of directories that belong to others, for a
// program that runs as root. No symbolic link leads it elsewhere, but for those that
// only root can have put there, and no magic link and no mount point does. What it
// has opened stays the same file, whatever its owner puts in its place.
package beneath

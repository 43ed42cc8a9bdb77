// Package foreign deals with the descriptors that others hand over, as long as nobody
// knows what they are. Of a file on FUSE, whose server is anybody's, or on a server
// that is gone, nearly every call waits for an answer that need never come: fstat(2),
// fstatfs(2), epoll_ctl(2) (and so [os.NewFile], where it is O_NONBLOCK, in which all of the Go runtime waits), and close(2)
// too (fs/fuse/file.c: fuse_flush), each without minding even SIGKILL. So the first
// look is by calls that ask no file system, what is no file in memory stays a number,
// and what nobody wants is closed where it may take as long as it likes.
package foreign

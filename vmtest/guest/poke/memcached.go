package main

import (
	"bufio"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

// value is what a key has.
func value(i int) string { return fmt.Sprintf("%x", sha256.Sum256(fmt.Append(nil, i))) }

// memcached puts n keys into the one of this machine, or checks that each has its
// value.
func memcached(n int, fill bool) error {
	conn, err := net.DialTimeout("tcp", "127.0.0.1:11211", 10*time.Second)
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(50 * time.Second))
	r, w := bufio.NewReader(conn), bufio.NewWriter(conn)
	const batch = 100
	for from := 0; from < n; from += batch {
		to := min(from+batch, n)
		if fill {
			for i := from; i < to; i++ {
				v := value(i)
				fmt.Fprintf(w, "set key-%d 0 0 %d noreply\r\n%s\r\n", i, len(v), v)
			}
		}
		w.WriteString("get")
		for i := from; i < to; i++ {
			fmt.Fprintf(w, " key-%d", i)
		}
		w.WriteString("\r\n")
		if err := w.Flush(); err != nil {
			return err
		}
		for i := from; i < to; i++ {
			v := value(i)
			want := fmt.Sprintf("VALUE key-%d 0 %d\r\n%s\r\n", i, len(v), v)
			got := make([]byte, len(want))
			if _, err := io.ReadFull(r, got); err != nil || string(got) != want {
				return fmt.Errorf("key-%d: got %q, want %q, %v", i, got, want, err)
			}
		}
		if end, err := r.ReadString('\n'); err != nil || strings.TrimSpace(end) != "END" {
			return fmt.Errorf("got %q, %v", end, err)
		}
	}
	fmt.Println(n, "keys")
	return nil
}

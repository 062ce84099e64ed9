package secret

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// readPrivate reads a file after it has seen that only its owner can.
func readPrivate(path string) ([]byte, error) {
	// Opening a FIFO would wait for somebody to write to it.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if err := checkMode(info, os.Geteuid()); err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(f, maxText+1))
}

// checkMode is the rule that PrivateKey documents.
func checkMode(info fs.FileInfo, self int) error {
	if !info.Mode().IsRegular() {
		return errors.New("not a regular file")
	}
	allowed := fs.FileMode(0o600)
	if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Uid == 0 && self != 0 {
		allowed = 0o640
	}
	if perm := info.Mode().Perm(); perm&^allowed&0o077 != 0 {
		return fmt.Errorf("a private key that group or others can use (mode %04o): run chmod %04o on it", perm, allowed)
	}
	return nil
}

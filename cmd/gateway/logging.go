package main

import (
	"io"
	"os"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"golang.org/x/term"
)

// logPatience is how long the end of the process waits for the log to be taken.
const logPatience = 5 * time.Second

// newLogger writes to w: lines for people when it is a terminal, JSON otherwise.
// Logging never waits for w; done does, for the last lines, and ends it.
func newLogger(w io.Writer, debug bool) (log *zap.Logger, done func()) {
	level := zapcore.InfoLevel
	if debug {
		level = zapcore.DebugLevel
	}
	encoding := zap.NewProductionEncoderConfig()
	encoding.TimeKey = "time"
	encoding.EncodeTime = zapcore.ISO8601TimeEncoder
	encoding.EncodeDuration = zapcore.StringDurationEncoder
	encoder := zapcore.NewJSONEncoder(encoding)
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		encoding.EncodeLevel = zapcore.CapitalColorLevelEncoder
		encoding.EncodeTime = zapcore.TimeEncoderOfLayout("15:04:05.000")
		encoder = zapcore.NewConsoleEncoder(encoding)
	}
	queue := newLogQueue(w, logQueueSize, func(lines int) []byte {
		line, err := encoder.EncodeEntry(zapcore.Entry{
			Level: zapcore.WarnLevel, Time: time.Now(), Message: "lines of the log are missing here: they were not taken in time",
		}, []zap.Field{zap.Int("lines", lines)})
		if err != nil {
			return nil
		}
		defer line.Free()
		return append([]byte(nil), line.Bytes()...)
	})
	log = zap.New(zapcore.NewCore(encoder, zapcore.AddSync(queue), level))
	return log, func() { _ = queue.close(logPatience) }
}

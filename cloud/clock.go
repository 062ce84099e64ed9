package cloud

import (
	"context"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"go.uber.org/zap"
)

// clockTolerance is how much this machine's clock may differ from AWS's. A token
// is given out for 10 minutes of the 15 that it is good for, and AWS takes what is
// signed up to 5 minutes ahead.
const clockTolerance = 2 * time.Minute

// clock compares this machine's time with that in AWS's answers. The SDK corrects
// its own requests by the difference, so that nothing but this tells of it; tokens
// for databases are signed by this machine's time.
type clock struct {
	now func() time.Time
	log *zap.Logger
	off atomic.Bool // and it was told

	ahead atomic.Int64 // by the latest answer
}

// watch has every client's answers looked at.
func (c *clock) watch(stack *middleware.Stack) error {
	return stack.Deserialize.Add(middleware.DeserializeMiddlewareFunc("gateway clock",
		func(ctx context.Context, in middleware.DeserializeInput, next middleware.DeserializeHandler) (middleware.DeserializeOutput, middleware.Metadata, error) {
			out, metadata, err := next.HandleDeserialize(ctx, in)
			if r, ok := out.RawResponse.(*smithyhttp.Response); ok && r != nil {
				c.compare(r.Header.Get("Date"))
			}
			return out, metadata, err
		}), middleware.After)
}

// compare looks at a Date header.
func (c *clock) compare(date string) {
	theirs, err := http.ParseTime(date)
	if err != nil {
		return
	}
	ahead := c.now().Sub(theirs)
	c.ahead.Store(int64(ahead))
	off := ahead.Abs() > clockTolerance
	if c.off.Swap(off) != off && off {
		c.log.Warn("this machine's clock differs from AWS's, and databases will refuse IAM tokens: have it set by NTP",
			zap.Duration("ahead", ahead.Round(time.Second)))
	}
}

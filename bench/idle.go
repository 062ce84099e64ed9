package main

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// idlePlan is one measurement of memory per idle client: the slope between two
// crowds. The first one pays for what a process allocates once, such as code
// paged in, slabs, and a heap's first megabytes.
type idlePlan struct {
	first   int // clients that stay throughout
	clients int // clients on top of them that are measured
	settle  time.Duration
}

// idleResult is a proxy's resident memory with the first clients and with all.
type idleResult struct {
	before, after int64 // bytes
	perClient     float64
}

// measureIdle logs clients in, has each run one statement, leaves them idle,
// and reads the proxy's resident memory after it settled.
func measureIdle(ctx context.Context, t *target, plan idlePlan) (idleResult, error) {
	var r idleResult
	crowd := make([]*pgconn.PgConn, 0, plan.first+plan.clients)
	defer func() { dismiss(ctx, crowd) }()
	for _, step := range []struct {
		n   int
		rss *int64
	}{{plan.first, &r.before}, {plan.clients, &r.after}} {
		more, err := gather(ctx, t.login, step.n)
		crowd = append(crowd, more...)
		if err != nil {
			return r, err
		}
		select {
		case <-ctx.Done():
			return r, ctx.Err()
		case <-time.After(plan.settle):
		}
		if *step.rss, err = t.proc.rss(); err != nil {
			return r, err
		}
	}
	r.perClient = float64(r.after-r.before) / float64(plan.clients)
	return r, nil
}

// gather logs n clients in, eight at a time. The caller dismisses what it
// returns, with an error too.
func gather(ctx context.Context, l login, n int) ([]*pgconn.PgConn, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	type outcome struct {
		conn *pgconn.PgConn
		err  error
	}
	const workers = 8
	tickets, outcomes := make(chan struct{}, n), make(chan outcome, n)
	for range n {
		tickets <- struct{}{}
	}
	close(tickets)
	for range workers {
		go func() { // ends when the tickets do; each outcome has room
			for range tickets {
				c, err := admit(ctx, l)
				outcomes <- outcome{c, err}
				if err != nil {
					cancel() // the rest fails at once
				}
			}
		}()
	}
	crowd := make([]*pgconn.PgConn, 0, n)
	var first error
	for range n {
		o := <-outcomes
		if o.conn != nil {
			crowd = append(crowd, o.conn)
		}
		if o.err != nil && first == nil {
			first = fmt.Errorf("client %d of %d: %w", len(crowd)+1, n, o.err)
		}
	}
	return crowd, first
}

// admit logs in and runs one statement, so that whatever buffers a client of
// this proxy has were in use once.
func admit(ctx context.Context, l login) (*pgconn.PgConn, error) {
	c, err := l.connect(ctx)
	if err != nil {
		return nil, err
	}
	_, err = c.Exec(ctx, "select 1").ReadAll()
	return c, err
}

// dismiss closes all connections within ten seconds, politely or not.
func dismiss(ctx context.Context, crowd []*pgconn.PgConn) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	for _, c := range crowd {
		_ = c.Close(ctx) // a connection that is gone already is as good
	}
}

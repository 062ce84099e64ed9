package proxy

import "testing"

// What a client sets goes with it from one server connection to the next.
func TestCarry(t *testing.T) {
	for _, p := range []play{
		{name: "SET does not pin", text: `
			A> Q(set x = 1) Q(set local y = 1)
			1< Q(set x = 1) Q(set local y = 1)
			1> C(SET) Z C(SET) Z
			A< C(SET) Z C(SET) Z
			1< values(x) S
			A> Q(a)
			1 quiet
			1> 3 1 2 value(1|0) C(SELECT 1) 3 Z
			1< Q(a)
			1> C(A) Z
			A< C(A) Z
			idle 1
			B> Q(b)
			1< revert(x) S
			1> 1 2 D(x) C(SELECT 1) Z
			1< Q(b)
			1> C(B) Z
			B< C(B) Z
			A> Q(a)
			1< apply(x=1) S
			1> 1 2 D(x) C(SELECT 1) Z
			1< Q(a)
			1> C(A) Z
			A< C(A) Z
			pins`},
		{name: "what is at its default is not carried", text: `
			A> Q(set x = 0; reset y; set z.z = 1)
			1< Q(set x = 0; reset y; set z.z = 1)
			1> C(SET) C(RESET) C(SET) Z
			A< C(SET) C(RESET) C(SET) Z
			1< values(x y z.z) S
			1> 3 1 2 value(0|0) C(SELECT 1) 2 C(SELECT 0) 2 value(|) C(SELECT 1) 3 Z
			B> Q(b)
			1< revert(z.z) S`},
		{name: "who sets nothing is not asked about, nor SET LOCAL, SET TRANSACTION and what was undone", text: `
			A> Q(update t set x = 1)
			1< Q(update t set x = 1)
			1> C(UPDATE 1) Z
			A< C(UPDATE 1) Z
			idle 1
			A> Q(begin)
			1< Q(begin)
			1> C(BEGIN) Z(T)
			A< C(BEGIN) Z(T)
			A> Q(set transaction read only) Q(set local TimeZone = GMT) Q(select set_config('x', $1, true)) Q(commit)
			1< Q(set transaction read only) Q(set local TimeZone = GMT) Q(select set_config('x', $1, true)) Q(commit)
			1> C(SET) Z(T) S(TimeZone=GMT) C(SET) Z(T) C(SELECT 1) Z(T) S(TimeZone=UTC) C(COMMIT) Z
			A< C(SET) Z(T) S(TimeZone=GMT) C(SET) Z(T) C(SELECT 1) Z(T) S(TimeZone=UTC) C(COMMIT) Z
			idle 1
			1 quiet
			pins`},
		{name: "a parameter that changes in another way", text: `
			A> Q(select f())
			1< Q(select f())
			1> S(TimeZone=GMT) C(SELECT 1) Z
			A< S(TimeZone=GMT) C(SELECT 1) Z
			1< values(timezone) S
			1> 3 1 2 value(GMT|UTC) C(SELECT 1) 3 Z
			idle 1
			B> Q(b)
			1< revert(timezone) S`},
		{name: "set_config of a literal", text: `
			A> P(|select pg_catalog.set_config('X', $1, false)) B E S
			1< P(|select pg_catalog.set_config('X', $1, false)) B E S
			1> 1 2 D() C(SELECT 1) Z
			A< 1 2 D() C(SELECT 1) Z
			1< values(x) S
			1> 3 1 2 value(1|0) C(SELECT 1) 3 Z
			idle 1`},
		{name: "SET in pieces", text: `
			A> Q(begin)
			1< Q(begin)
			1> C(BEGIN) Z(T)
			A< C(BEGIN) Z(T)
			A> P(| Set x = 1)@0:9
			1 quiet
			A> P(| Set x = 1)@9:13
			1 quiet
			A> P(| Set x = 1)@13: B E Q(reset y)@0:8
			1< P(| Set x = 1) B E
			1 quiet
			A> Q(reset y)@8: Q(commit)
			1< Q(reset y) Q(commit)
			1> 1 2 C(SET) C(RESET) Z(T) C(COMMIT) Z
			A< 1 2 C(SET) C(RESET) Z(T) C(COMMIT) Z
			1< values(x y) S`},
		{name: "a DO block", text: `
			A> Q(do $$ begin set x = 1; update t set y = 1; execute 'set local z = 1'; end $$)
			1< Q(do $$ begin set x = 1; update t set y = 1; execute 'set local z = 1'; end $$)
			1> C(DO) Z
			A< C(DO) Z
			1< values(x y) S
			1> 3 1 2 value(1|0) C(SELECT 1) 2 C(SELECT 0) 3 Z
			idle 1
			B> Q(b)
			1< revert(x) S`},
		{name: "function-call messages", text: `
			A> raw(F\x00\x00\x00\x08\x00\x00\x00\x01)
			1< raw(F\x00\x00\x00\x08\x00\x00\x00\x01)
			1> V(x) Z
			A< V(x) Z
			idle 1
			A> raw(F\x00\x00\x00\x08\x00\x00\x0b\x40)
			1< raw(F\x00\x00\x00\x08\x00\x00\x0b\x40)
			1> V(x) Z
			A< V(x) Z
			1< isthere(advisory lock) S
			1> 3 1 2 C(SELECT 0) 3 Z
			idle 1
			A> raw(F\x00\x00\x00\x08\x00\x00\x08\x1e)
			1< raw(F\x00\x00\x00\x08\x00\x00\x08\x1e)
			1> V(x) Z
			A< V(x) Z
			pins set_config=1/1`},
		{name: "set_config of anything pins", text: `
			A> P(|select set_config($1, $2, false)) B E S
			1< P(|select set_config($1, $2, false)) B E S
			1> 1 2 D() C(SELECT 1) Z
			A< 1 2 D() C(SELECT 1) Z
			B> Q(b)
			waiting 1
			pins set_config=1/1`},
		{name: "RESET ALL ends that, when it is done", text: `
			A> Q(select set_config($1))
			1< Q(select set_config($1))
			1> C(SELECT 1) Z
			A< C(SELECT 1) Z
			pins set_config=1/1
			A> Q(begin) Q(reset all) Q(rollback)
			1< Q(begin) Q(reset all) Q(rollback)
			1> C(BEGIN) Z(T) C(RESET) Z(T) C(ROLLBACK) Z
			A< C(BEGIN) Z(T) C(RESET) Z(T) C(ROLLBACK) Z
			A> Q(reset all; oops)
			1< Q(reset all; oops)
			1> C(RESET) E(42601) Z
			A< C(RESET) E(42601) Z
			A> Q(reset all; select set_config($1))
			1< Q(reset all; select set_config($1))
			1> C(RESET) C(SELECT 1) Z
			A< C(RESET) C(SELECT 1) Z
			busy 1
			A> Q(close all; reset all)
			1< Q(close all; reset all)
			1> C(CLOSE CURSOR ALL) C(RESET) Z
			A< C(CLOSE CURSOR ALL) C(RESET) Z
			idle 1
			1 quiet
			pins set_config=0/1`},
		{name: "what cannot be set back pins, until it is something else", text: `
			A> Q(set x = 1)
			1< Q(set x = 1)
			1> C(SET) Z
			A< C(SET) Z
			1< values(x) S
			1> 3 1 2 E(42501) Z
			busy 1
			A> Q(a)
			1< Q(a)
			1> C(A) Z
			A< C(A) Z
			1 quiet
			pins SET=1/1
			A> Q(set y = 1)
			1< Q(set y = 1)
			1> C(SET) Z
			A< C(SET) Z
			1< values(x y) S
			1> 3 1 2 value(1|0) C(SELECT 1) 2 value(1|0) C(SELECT 1) 3 Z
			idle 1
			pins SET=0/1`},
		{name: "values are bytes of the encoding that they come with", text: `
			A open client_encoding=LATIN1
			1< apply(client_encoding=LATIN1) S
			1> 1 2 D(x) C(SELECT 1) Z
			A greeted
			A> Q(set a = 1)
			1< Q(set a = 1)
			1> C(SET) Z
			A< C(SET) Z
			1< values(a) S
			1> 3 1 2 value(` + "\xe4" + `|0) C(SELECT 1) 3 Z
			B open
			1< revert(client_encoding) revert(a) S
			1> 1 2 D(x) C(SELECT 1) 1 2 D(x) C(SELECT 1) Z
			B greeted
			A> Q(set client_encoding = UTF8)
			1< apply(client_encoding=LATIN1) apply(a=` + "\xe4" + `) S
			1> 1 2 D(x) C(SELECT 1) 1 2 D(x) C(SELECT 1) Z
			1< Q(set client_encoding = UTF8)
			1> C(SET) S(client_encoding=UTF8) Z
			A< C(SET) S(client_encoding=UTF8) Z
			1< values(client_encoding a) S
			1> 3 1 2 value(UTF8|UTF8) C(SELECT 1) 2 value(ä|0) C(SELECT 1) 3 Z
			B> Q(b)
			1< revert(client_encoding) revert(a) S
			1> 1 2 D(x) C(SELECT 1) 1 2 D(x) C(SELECT 1) Z
			1< Q(b)
			1> C(B) Z
			B< C(B) Z
			A> Q(a)
			1< apply(client_encoding=UTF8) apply(a=ä) S
			pins`},
		{name: "a text is not read that may be in any encoding", text: `
			A open client_encoding=SJIS
			1< apply(client_encoding=SJIS) S
			1> 1 2 S(client_encoding=SJIS) D(x) C(SELECT 1) Z
			A greeted
			A> Q(set x = 1)
			1< Q(set x = 1)
			1> C(SET) Z
			A< C(SET) Z
			busy 1
			pins SET=1/1`},
		{name: "a role pins until it is given up", text: `
			A> Q(set role x)
			1< Q(set role x)
			1> C(SET) Z
			A< C(SET) Z
			1< isthere(session role) S
			1> 3 1 2 D() C(SELECT 1) 3 Z
			busy 1
			A> Q(reset role)
			1< Q(reset role)
			1> C(RESET) Z
			A< C(RESET) Z
			1< isthere(session role) S
			1> 3 1 2 C(SELECT 0) 3 Z
			idle 1
			pins session role=0/1`},
		{name: "parameters are asked for when no pin is left", text: `
			A> Q(create temp table x) Q(set x = 1)
			1< Q(create temp table x) Q(set x = 1)
			1> C(CREATE TABLE) Z C(SET) Z
			A< C(CREATE TABLE) Z C(SET) Z
			1< isthere(temporary object) values(x) S
			1> 3 1 2 D() C(SELECT 1) 3 3 1 2 value(1|0) C(SELECT 1) 3 Z
			A> Q(set x = 2)
			1< Q(set x = 2)
			1> C(SET) Z
			A< C(SET) Z
			1 quiet
			A> Q(drop table x)
			1< Q(drop table x)
			1> C(DROP TABLE) Z
			A< C(DROP TABLE) Z
			1< isthere(temporary object) values(x) S
			1> 3 1 2 C(SELECT 0) 3 3 1 2 value(2|0) C(SELECT 1) 3 Z
			idle 1
			B> Q(b)
			1< revert(x) S
			1> 1 2 D(x) C(SELECT 1) Z
			1< Q(b)
			1> C(B) Z
			B< C(B) Z
			A> Q(a)
			1< apply(x=2) S`},
		{name: "RESET returns to the startup value, and only of what is reset", text: `
			A open x=1 y=1
			1< apply(x=1) apply(y=1) S
			1> 1 2 D(x) C(SELECT 1) 1 2 D(x) C(SELECT 1) Z
			A greeted
			A> Q(set x to default)
			1< Q(set x to default)
			1> C(SET) Z
			A< C(SET)
			1< restore(x=1) S
			1> 1 2 D(x) C(SELECT 1) Z
			A< Z
			1< values(x) S
			1> 3 1 2 value(1|0) C(SELECT 1) 3 Z
			idle 1`},
		{name: "an unnamed statement is not the gateway's after that", text: `
			A open x=1
			1< apply(x=1) S
			1> 1 2 D(x) C(SELECT 1) Z
			A greeted
			A> Q(begin)
			1< Q(begin)
			1> C(BEGIN) Z(T)
			A< C(BEGIN) Z(T)
			A> Q(reset x)
			1< Q(reset x)
			1> C(RESET) Z(T)
			A< C(RESET)
			1< restore(x=1) S
			1> 1 2 D(x) C(SELECT 1) Z(T)
			A< Z(T)
			A> D() S
			1< C() D() S`},
		{name: "DISCARD ALL returns to it without a question", text: `
			A open x=1
			1< apply(x=1) S
			1> 1 2 D(x) C(SELECT 1) Z
			A greeted
			A> Q(set x = 2)
			1< Q(set x = 2)
			1> C(SET) Z
			A< C(SET) Z
			1< values(x) S
			1> 3 1 2 value(2|0) C(SELECT 1) 3 Z
			A> Q(discard all)
			1< Q(discard all)
			1> C(DISCARD ALL) S(TimeZone=GMT) Z
			A< C(DISCARD ALL) S(TimeZone=GMT)
			1< restore(x=1) S
			1> 1 2 D(x) C(SELECT 1) Z
			A< Z
			idle 1
			A> Q(a)
			1< Q(a)`},
		{name: "a value that the next server refuses ends the session", size: 2, text: `
			A> Q(set x = 1)
			1< Q(set x = 1)
			1> C(SET) Z
			A< C(SET) Z
			1< values(x) S
			1> 3 1 2 value(1|0) C(SELECT 1) 3 Z
			B> Q(b)
			1< revert(x) S
			1> 1 2 D(x) C(SELECT 1) Z
			1< Q(b)
			A> Q(a)
			2< apply(x=1) S
			2> 1 2 E(22023) Z
			A< !FATAL:22023
			A closed`},
		{name: "a function that may do it later", text: `
			A> Q(create function f() $$ set_config('x', '1', false) temp $$)
			1< Q(create function f() $$ set_config('x', '1', false) temp $$)
			1> C(CREATE FUNCTION) Z
			A< C(CREATE FUNCTION) Z
			1< isthere(temporary object) values(x) S
			1> 3 1 2 C(SELECT 0) 3 3 1 2 value(0|0) C(SELECT 1) 3 Z
			A> Q(select f())
			1< Q(select f())
			1> C(SELECT 1) Z
			A< C(SELECT 1) Z
			1< isthere(temporary object) values(x) S
			1> 3 1 2 C(SELECT 0) 3 3 1 2 value(1|0) C(SELECT 1) 3 Z
			B> Q(b)
			1< revert(x) S
			1> 1 2 D(x) C(SELECT 1) Z
			1< Q(b)
			1> C(B) Z
			B< C(B) Z
			idle 1
			pins`},
		{name: "session mode asks nothing", mode: "session", text: `
			A> Q(set x = 1) Q(listen x) Q(unlisten x)
			1< Q(set x = 1) Q(listen x) Q(unlisten x)
			1> C(SET) Z C(LISTEN) Z C(UNLISTEN) Z
			A< C(SET) Z C(LISTEN) Z C(UNLISTEN) Z
			1 quiet
			pins session mode=1/1
			A close
			1< Q(DISCARD ALL)
			pins session mode=0/1`},
		{name: "a rest of rows that is in two pieces", text: `
			A> Q(set x = 1)
			1< Q(set x = 1)
			1> C(SET) Z
			A< C(SET) Z
			1< values(x) S
			1> 3 1 2 value(12345678|0)@0:9
			1> value(12345678|0)@9: C(SELECT 1) 3 Z
			B> Q(b)
			1< revert(x) S
			1> 1 2 D(x) C(SELECT 1) Z
			1< Q(b)
			1> C(B) Z
			B< C(B) Z
			A> Q(a)
			1< apply(x=12345678) S`},
	} {
		p.run(t)
	}
}

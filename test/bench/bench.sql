/*
 * What the benchmark needs in the database: procedures that take the time of
 * something without psql, and the table that tracking is compared with.
 *
 * They are procedures because they commit.  A function would hold on to one
 * snapshot to its end, and while it waits for the worker, no dead row version
 * could be cleared away: something that the benchmark would do to itself.
 */

CREATE EXTENSION browser_session;

CREATE SCHEMA bench;

CREATE TABLE bench.plain (LIKE bsession_tracked INCLUDING ALL);

/*
 * Seconds that a statement and its commit take.
 */
CREATE PROCEDURE bench.measure(statement text, OUT seconds float8)
LANGUAGE plpgsql
AS $$
DECLARE
	begun timestamptz := clock_timestamp();
BEGIN
	EXECUTE statement;
	COMMIT;
	seconds := extract(epoch FROM clock_timestamp() - begun);
END
$$;

/*
 * Sessions that have ended since.  By the index, whatever else is tracked.
 */
CREATE FUNCTION bench.ended(servers text[], since timestamptz) RETURNS bigint
LANGUAGE sql VOLATILE SET enable_seqscan = off
AS $$
	SELECT count(*) FROM bsession_tracked
	WHERE ended_at >= since AND state = 'ended' AND provider = ANY (servers)
$$;

/*
 * Waits until the worker has ended n sessions that were all due at the same
 * moment.  The result is the seconds from that moment to the one in which all
 * rows are seen to be "ended"; null if the call came too late to see it.
 *
 * The rows are not looked at before all answers have come.  Answers are counted
 * in shared memory, so that looking for them is no load.
 */
CREATE PROCEDURE bench.wait_until_ended(servers text[], n bigint,
	due timestamptz, OUT seconds float8)
LANGUAGE plpgsql
AS $$
DECLARE
	late boolean := clock_timestamp() > due;
	give_up timestamptz := due + interval '5 minutes';
	answers bigint;
	goal bigint;
BEGIN
	SELECT coalesce(sum(attempts), 0) + n INTO goal
	FROM bsession_stats WHERE provider = ANY (servers);
	PERFORM pg_sleep(extract(epoch FROM due - clock_timestamp()));
	COMMIT;
	LOOP
		SELECT sum(attempts) INTO answers
		FROM bsession_stats WHERE provider = ANY (servers);
		EXIT WHEN late OR answers >= goal OR clock_timestamp() > give_up;
		COMMIT;
		PERFORM pg_sleep(0.01);
		COMMIT;
	END LOOP;
	WHILE bench.ended(servers, due) < n
	LOOP
		COMMIT;
		PERFORM pg_sleep(0.005);
		COMMIT;
		IF clock_timestamp() > give_up THEN
			RAISE 'only % of % sessions have ended',
				bench.ended(servers, due), n;
		END IF;
	END LOOP;
	IF NOT late THEN
		seconds := extract(epoch FROM clock_timestamp() - due);
	END IF;
END
$$;

/*
 * What is wrong after n sessions of each server were ended: null if each has
 * exactly one attempt in the audit, and that ended it, and each one that is
 * tracked and due has ended.
 */
CREATE FUNCTION bench.complaint(servers text[], n bigint) RETURNS text
LANGUAGE plpgsql
AS $$
DECLARE
	wanted bigint := n * cardinality(servers);
	found record;
BEGIN
	SELECT count(*) AS attempts,
		count(*) FILTER (WHERE outcome = 'ended' AND attempt = 1) AS ends,
		count(DISTINCT (provider, session_id)) AS sessions
	INTO found
	FROM bsession_audit WHERE provider = ANY (servers);
	IF found.attempts <> wanted OR found.ends <> wanted OR
		found.sessions <> wanted
	THEN
		RETURN format('of %s sessions, %s are in the audit,'
			' with %s attempts and %s ends',
			wanted, found.sessions, found.attempts, found.ends);
	END IF;

	SELECT count(*) AS sessions, max(state) AS state, max(outcome) AS outcome
	INTO found
	FROM bsession_tracked
	WHERE provider = ANY (servers) AND expires_at <= clock_timestamp()
		AND (state <> 'ended' OR outcome <> 'ended' OR attempts <> 1);
	IF found.sessions > 0 THEN
		RETURN format('%s tracked sessions are not ended,'
			' such as one %s, outcome %s',
			found.sessions, found.state, found.outcome);
	END IF;
	RETURN NULL;
END
$$;

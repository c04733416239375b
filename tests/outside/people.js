// People at their keyboards: each has a token, asks queries and does mutations.

/** Longer than a source may be asked while somebody waits. */
const REQUEST_TIMEOUT_MS = 40_000;

/** The top-level errors of an answer. `codes` are their `extensions.code`. */
export class GraphQLErrors extends Error {
  constructor(errors) {
    super(errors.map((error) => `${error.extensions?.code}: ${error.message}`).join('\n'));
    this.errors = errors;
    this.codes = errors.map((error) => error.extensions?.code);
  }
}

/** One request; returns the answer as it was written. */
async function post(origin, token, query, variables) {
  const response = await fetch(`${origin}/graphql`, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      accept: 'application/graphql-response+json',
      ...(token ? { authorization: `Bearer ${token}` } : {}),
    },
    body: JSON.stringify({ query, variables }),
    signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS),
  });
  return { status: response.status, text: await response.text() };
}

/** One request; returns `data`, throws GraphQLErrors. */
export async function graphql(origin, token, query, variables = {}) {
  const { status, text } = await post(origin, token, query, variables);
  let answer;
  try {
    answer = JSON.parse(text);
  } catch {
    throw new Error(`no JSON from /graphql: ${status} ${text.slice(0, 300)}`);
  }
  if (answer.errors) throw new GraphQLErrors(answer.errors);
  return answer.data;
}

export class Person {
  constructor({ origin, token, email, id }) {
    Object.assign(this, { origin, token, email, id });
  }

  /** The same person, asking another node. */
  at(node) {
    return new Person({ ...this, origin: node.origin });
  }

  ask(query, variables) {
    return graphql(this.origin, this.token, query, variables);
  }

  /** The answer as it was written, digit by digit. */
  async answer(query, variables) {
    return (await post(this.origin, this.token, query, variables)).text;
  }

  /** Does a mutation and returns its payload, whatever its `errors` say. */
  async tries(mutation, input, selection = '') {
    const type = `${mutation[0].toUpperCase()}${mutation.slice(1)}Input`;
    const data = await this.ask(
      `mutation ($input: ${type}!) {
         payload: ${mutation}(input: $input) { ${selection} errors { code message field conflictsWith { id } } }
       }`,
      { input },
    );
    return data.payload;
  }

  /** Does a mutation that has to succeed, and returns its payload. */
  async does(mutation, input, selection) {
    const payload = await this.tries(mutation, input, selection);
    if (payload.errors.length > 0) throw new Error(`${mutation} was refused: ${JSON.stringify(payload.errors)}`);
    return payload;
  }

  /** Where the journal stands now: what happens from here on comes `after` it. */
  async cursor() {
    return (await this.ask('{ eventCursor }')).eventCursor;
  }

  /** One connection as this person sees it; null when they do not. */
  async connection(id) {
    const { connection } = await this.ask(
      `query ($id: ID!) {
         connection(id: $id) {
           id name status removedAt
           createdBy { id } sharedWith { id }
           client { id }
           authorization { id status account { accountId name } }
           disconnection { id reason startedAt endedAt reconnectConnectionId }
         }
       }`,
      { id },
    );
    return connection;
  }

  /** The disconnections of a connection, newest first. */
  async disconnectionsOf(connectionId) {
    const { disconnections } = await this.ask(
      `query ($connectionId: ID!) {
         disconnections(filter: { connectionId: $connectionId }) {
           totalCount
           nodes {
             id reason detectedBy message startedAt endedAt endedBy reconnectConnectionId
             reconnectedBy { id } connection { id } connections { nodes { id } }
           }
         }
       }`,
      { connectionId },
    );
    return disconnections.nodes;
  }

  /** One dataset as this person sees it; null when they do not. */
  async dataset(id) {
    const { dataset } = await this.ask(
      `query ($id: ID!) {
         dataset(id: $id) {
           id name externalId connection { id } mode query { sql http { path parameters rowsPointer } }
           status error { message needsReconnect at } lastRefreshedAt refreshEveryMinutes
           columns rowCount metrics { nodes { id } }
         }
       }`,
      { id },
    );
    return dataset;
  }

  /** Every row of a dataset, walked page by page; null when there is none to be had. */
  async rows(datasetId, { first = 100 } = {}) {
    const rows = [];
    let after = null;
    do {
      const { dataset } = await this.ask(
        `query ($id: ID!, $first: Int!, $after: String) {
           dataset(id: $id) { rows(first: $first, after: $after) { nodes totalCount pageInfo { hasNextPage endCursor } } }
         }`,
        { id: datasetId, first, after },
      );
      if (dataset.rows === null) return null;
      const { nodes, totalCount, pageInfo } = dataset.rows;
      rows.push(...nodes);
      if (rows.length > totalCount) throw new Error(`${rows.length} rows of ${totalCount}`);
      after = pageInfo.hasNextPage ? pageInfo.endCursor : null;
    } while (after);
    return rows;
  }

  /** One metric as this person sees it; null when they do not. */
  async metric(id) {
    const { metric } = await this.ask(
      `query ($id: ID!) {
         metric(id: $id) {
           id name aggregation column value exactValue dataset { id }
           error { message connection { id } dataset { id } }
         }
       }`,
      { id },
    );
    return metric;
  }

  /** What the tray shows, newest first. */
  async tray() {
    const { viewer } = await this.ask(
      `{ viewer {
           unreadNotificationCount
           notifications {
             totalCount
             nodes {
               id kind title readAt
               disconnection { id endedAt reconnectConnectionId }
               clients { nodes { id } } connections { nodes { id } }
             }
           }
       } }`,
    );
    return { unread: viewer.unreadNotificationCount, notifications: viewer.notifications.nodes };
  }
}

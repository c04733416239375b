// Operations to begin with, each with its variables.
export const EXAMPLES = [
  {
    title: "Who am I",
    text: `# Who asks, and what they may do.
query WhoAmI {
  viewer {
    role
    user { name email }
    workspace {
      name
      timeZone
      connectionCounts { total connected expiring disconnected }
    }
    unreadNotificationCount
  }
}
`,
  },
  {
    title: "Connections and how they are",
    text: `# The disconnected ones first.
query Connections($first: Int) {
  eventCursor
  connections(first: $first, orderBy: { field: STATUS }) {
    nodes {
      id
      name
      status
      statusChangedAt
      client { name }
      connector { name }
      disconnection { reason message startedAt }
      viewerCanReconnect
    }
    pageInfo { hasNextPage endCursor }
    totalCount
  }
}
`,
    variables: { first: 20 },
  },
  {
    title: "Watch connections change",
    text: `# Runs until you stop it. With a cursor in "after"
# it replays first what came since.
subscription Changes($after: String) {
  connectionsChanged(after: $after) {
    cursor
    at
    kind
    connections { id name status client { name } }
    connectionCount
    disconnection { reason message }
    by { name }
  }
}
`,
    variables: { after: null },
  },
  {
    title: "Reconnect",
    text: `# Where someone has to sign in, open the authorizationUrl.
mutation Reconnect($input: ReconnectInput!) {
  reconnect(input: $input) {
    attempt { id status authorizationUrl expiresAt }
    connections { id name status }
    errors { code message field }
  }
}
`,
    variables: { input: { connectionId: "connection_…" } },
  },
  {
    title: "What is disconnected",
    text: `# Outages that last, the newest first. A Reconnect button
# passes reconnectConnectionId to the mutation.
query Disconnections {
  disconnections(filter: { open: true }, first: 20) {
    nodes {
      reason
      message
      startedAt
      detectedBy
      connections(first: 5) { nodes { name client { name } } totalCount }
      reconnectConnectionId
    }
    totalCount
  }
}
`,
  },
];

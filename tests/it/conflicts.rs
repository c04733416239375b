//! What is in the way: named to whoever may see it, also when two come at once; and the same asked twice is done once.

use serde_json::{Value, json};

use crate::{
    agency::Agency,
    harness::{Person, id},
};

/// An agency where the ADMIN and the STAFF reach the account 100-303 by an authorization each: the second one's id.
async fn two_ways() -> (Agency, String) {
    let agency = Agency::new().await;
    let bens = json!({ "connector": "sandbox-ads", "accountId": "100-404" });
    let bens = agency.staff.connects(&agency.stage.browser(), bens, "ben").await;
    let bens = id(&bens["authorization"]);
    (agency, bens)
}

async fn connect(person: &Person, authorization: &str, mut input: Value) -> Value {
    input["connector"] = json!("sandbox-ads");
    input["using"] = json!({ "authorizationId": authorization });
    person.mutates("connect", input, "connection { id }").await
}

#[tokio::test(flavor = "multi_thread")]
async fn two_who_connect_by_one_external_id_at_once_get_one_connection() {
    let (agency, bens) = two_ways().await;
    for round in 0..8 {
        let client = agency.admin.creates_client(&format!("Client {round}")).await;
        let external = json!(format!("crm-{round}"));
        // The same account of the same client, and an account each.
        let (one, other) = if round % 2 == 0 { ("100-303", "100-303") } else { ("100-302", "100-404") };
        let input = |account: &str| json!({ "clientId": client, "accountId": account, "externalId": external });
        let (first, second) = tokio::join!(
            connect(&agency.admin, &agency.ads_authorization, input(one)),
            connect(&agency.staff, &bens, input(other))
        );
        assert_eq!((&first["errors"], &second["errors"]), (&json!([]), &json!([])));
        assert_eq!(first["connection"]["id"], second["connection"]["id"]);
        let query = format!("{{ connections(filter: {{ clientId: [\"{client}\"] }}) {{ totalCount }} }}");
        assert_eq!(agency.admin.sees(&query).await["connections"]["totalCount"], 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_who_type_the_same_key_under_one_external_id_at_once_get_one_connection() {
    let (agency, _) = two_ways().await;
    let input = json!({
        "connector": "sandbox-billing", "externalId": "billing",
        "using": { "credentials": agency.stage.key("lamps") },
    });
    let connecting = async |who: &Person| who.does("connect", input.clone(), "connection { id }").await;
    let (first, second) = tokio::join!(connecting(&agency.admin), connecting(&agency.staff));
    assert_eq!(first["connection"]["id"], second["connection"]["id"]);
    let query = r#"{ authorizations(filter: { connector: ["sandbox-billing"] }) { totalCount } }"#;
    assert_eq!(agency.admin.sees(query).await["authorizations"]["totalCount"], 1, "nothing is left of the other one");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_second_is_told_who_was_first() {
    let (agency, bens) = two_ways().await;
    for round in 0..6 {
        let client = agency.admin.creates_client(&format!("Client {round}")).await;
        let input = || json!({ "clientId": client, "accountId": "100-303" });
        let (first, second) = tokio::join!(
            connect(&agency.admin, &agency.ads_authorization, input()),
            connect(&agency.staff, &bens, input())
        );
        let (won, lost) = if first["connection"].is_null() { (second, first) } else { (first, second) };
        assert_eq!(lost["errors"][0]["code"], "CONFLICT", "{won:#} {lost:#}");
        assert_eq!(lost["errors"][0]["conflictsWith"]["id"], won["connection"]["id"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_who_give_one_external_id_to_two_connections_at_once_are_told_apart() {
    let (agency, _) = two_ways().await;
    for round in 0..6 {
        let update = async |connection: &str| {
            let input = json!({ "connectionId": connection, "externalId": format!("crm-{round}") });
            agency.admin.mutates("updateConnection", input, "connection { id }").await
        };
        let (first, second) = tokio::join!(update(&agency.acme_ads), update(&agency.acme_visits));
        let (won, lost) = if first["connection"].is_null() { (second, first) } else { (first, second) };
        let error = &lost["errors"][0];
        assert_eq!((&error["code"], &error["field"]), (&json!("CONFLICT"), &json!(["externalId"])), "{won:#} {lost:#}");
        assert_eq!(error["conflictsWith"]["id"], won["connection"]["id"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_is_not_told_what_they_cannot_see() {
    let agency = Agency::new().await;
    let hide = json!({ "connectionId": agency.acme_ads, "externalId": "hidden" });
    agency.admin.does("updateConnection", hide, "").await;
    let by_external_id = r#"{ connection(externalId: "hidden") { id } }"#;
    assert_eq!(agency.admin.sees(by_external_id).await["connection"]["id"], agency.acme_ads);
    assert_eq!(agency.member.sees(by_external_id).await["connection"], Value::Null);

    let take = json!({ "connectionId": agency.acme_visits, "externalId": "hidden" });
    let billing = json!({
        "connector": "sandbox-billing", "externalId": "hidden",
        "using": { "credentials": agency.stage.key("lamps") },
    });
    for (mutation, input, seen_by) in [("updateConnection", take, &agency.admin), ("connect", billing, &agency.member)]
    {
        let refused = agency.member.refused(mutation, input.clone()).await;
        assert_eq!((&refused["code"], &refused["field"]), (&json!("CONFLICT"), &json!(["externalId"])));
        assert_eq!(refused["conflictsWith"], Value::Null, "{mutation}");
        if seen_by.id == agency.admin.id {
            assert_eq!(agency.admin.refused(mutation, input).await["conflictsWith"]["id"], agency.acme_ads);
        }
    }
    agency.shares(&agency.acme_ads, &agency.member).await;
    let again = json!({ "connectionId": agency.acme_visits, "externalId": "hidden" });
    assert_eq!(agency.member.refused("updateConnection", again).await["conflictsWith"]["id"], agency.acme_ads);
}

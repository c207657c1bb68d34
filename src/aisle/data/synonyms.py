"""The words that retailers use for the columns we need, in several languages; compared by ``plain`` name."""

from __future__ import annotations

import re

from aisle.data.names import plain, tokens

NOUNS: dict[str, tuple[str, ...]] = {
    "customer_id": (
        *("customer", "cust", "client", "user", "household", "hh", "member", "shopper", "buyer", "consumer", "visitor"),
        *("cardholder", "card", "loyaltycard", "loyalty", "account", "kunde", "kunden", "cliente", "klant"),
        *("klanten", "acheteur", "klient", "kund", "utente", "usuario"),
    ),
    "product_id": (
        *("product", "prod", "item", "sku", "article", "stock", "stockitem", "material", "upc", "ean", "gtin", "asin"),
        *("plu", "barcode", "artikel", "produkt", "produit", "producto", "prodotto", "articolo", "articulo", "produto"),
        *("artigo", "movie", "book", "track", "goods", "towar", "vare"),
    ),
    "order_id": (
        *("order", "invoice", "basket", "transaction", "trans", "tran", "txn", "receipt", "ticket", "bill", "cart"),
        *("session", "bon", "beleg", "rechnung", "rechnungs", "bestellung", "bestell", "auftrag", "auftrags"),
        *("commande", "facture", "pedido", "factura", "ordine", "scontrino", "fattura", "kassenbon", "zamowienie"),
    ),
    "store_id": (
        *("store", "shop", "branch", "outlet", "filiale", "filial", "markt", "magasin", "tienda", "negozio", "loja"),
        *("sucursal", "winkel", "sklep", "location"),
    ),
}
"""Things that have an id: the noun alone, or with an id word before or after it."""
ID_WORDS = (
    *("id", "ids", "key", "code", "no", "nr", "num", "number", "nummer", "numero", "codigo", "cod", "codice", "guid"),
    *("uuid", "sk", "identifier", "hash"),
)
WORDS: dict[str, tuple[str, ...]] = {
    "quantity": (
        *(
            "quantity",
            "qty",
            "units",
            "quantitysold",
            "qtysold",
            "unitssold",
            "qtyordered",
            "orderedquantity",
            "pieces",
        ),
        *("orderqty", "itemcount", "menge", "anzahl", "stuck", "quantite", "qte", "cantidad", "quantita", "quantidade"),
        *("aantal", "ilosc", "antal", "salesquantity", "salesqty", "unitsales"),
    ),
    "price": (
        *("unitprice", "price", "priceperunit", "rate", "sellingprice", "itemprice", "productprice", "retailprice"),
        *("einzelpreis", "stuckpreis", "preis", "prixunitaire", "prix", "preciounitario", "precio", "prezzounitario"),
        *("prezzo", "precounitario", "preco", "prijs", "stukprijs", "cena", "listprice"),
    ),
    "amount": (
        *(
            "amount",
            "totalamount",
            "totalamt",
            "linetotal",
            "lineamount",
            "salesvalue",
            "salesamount",
            "spend",
            "total",
        ),
        *("revenue", "totalprice", "extendedprice", "sales", "netsales", "grosssales", "netamount", "grossamount"),
        *("turnover", "value", "salesrevenue", "betrag", "umsatz", "summe", "gesamtpreis", "gesamtbetrag", "montant"),
        *("montanttotal", "importe", "importetotal", "importo", "totale", "valortotal", "valor", "bedrag", "kwota"),
    ),
    "tax": ("tax", "taxamount", "vat", "mwst", "ust", "tva", "iva", "btw"),
    "discount": (
        *("discount", "disc", "discountamount", "discountvalue", "retaildisc", "rabatt", "remise", "descuento"),
        *("sconto", "desconto", "korting"),
    ),
    "promotion": ("promotion", "promotionid", "promo", "promoid", "promocode", "coupon", "couponid", "couponcode"),
    "channel": (
        *("channel", "channelid", "saleschannel", "saleschannelid", "storetype", "kanal", "vertriebskanal", "canal"),
        *("canale", "kanaal", "orderchannel", "purchasechannel"),
    ),
    "sequence": ("sequence", "seq", "position", "step", "ordernumber", "visitnumber", "basketnumber", "timeorder"),
    "name": (
        *(
            "productname",
            "itemname",
            "prodname",
            "articlename",
            "producttitle",
            "productdescription",
            "itemdescription",
        ),
        *("name", "title", "description", "desc", "bezeichnung", "artikelbezeichnung", "produktname", "artikelname"),
        *("libelle", "designation", "nomproduit", "nombreproducto", "nombre", "descripcion", "descrizione", "nome"),
        *("descricao", "omschrijving", "naam", "nazwa", "movietitle"),
    ),
    "brand": ("brand", "brandname", "brandid", "marke", "marque", "marca", "merk", "manufacturer", "hersteller"),
    "cost": ("cost", "unitcost", "costprice", "purchaseprice", "einkaufspreis", "costo", "coste"),
    "in_stock": ("instock", "isavailable", "available", "active", "isactive"),
    "variant_of": ("variantof", "parentsku", "parentproductid", "parentid", "parentasin"),
    "valid_from": ("validfrom", "listedfrom", "launchdate", "signupdate", "registrationdate", "joindate"),
    "no_profile": ("noprofile", "optout", "optedout", "noprofiling"),
}
CATEGORY_RANKS: tuple[tuple[str, ...], ...] = (
    ("division", "sector", "universe", "sparte", "mastercategory"),
    ("department", "dept", "indexgroup", "abteilung", "rayon", "departamento", "reparto"),
    ("group", "commoditygroup", "maingroup", "warengruppe", "hauptgruppe", "famille", "familia", "family", "grupo"),
    ("category", "cat", "categ", "kategorie", "categorie", "categoria", "genre", "genres", "commodity", "aisle"),
    ("subcategory", "subcat", "subcateg", "unterkategorie", "souscategorie", "subcategoria", "sottocategoria"),
    ("class", "klasse", "classe", "clase"),
    ("subclass", "type", "subcommodity", "segment", "unterklasse", "articletype"),
)
"""Levels of a product tree, top to leaf, after the words product, prod, item, article and name are taken away."""
GROUP_RANKS: tuple[tuple[str, ...], ...] = (
    ("country", "land", "pays", "pais", "paese"),
    ("region", "zone", "market", "gebiet"),
    ("state", "province", "bundesland", "provincia", "departement"),
    ("county", "district", "kreis"),
    ("city", "town", "ort", "stadt", "ville", "ciudad", "citta", "cidade", "municipality"),
    ("store", "homestore", "filiale", "preferredstore"),
)
"""Levels of a customer tree, top to leaf, after the words customer, home, name and id are taken away."""
_DROP = {"category_": {"product", "prod", "item", "article", "name", "desc", "description", "title"}}
_DROP["group_"] = {"customer", "cust", "client", "home", "household", "name", "code", "id"}
_CODES = {"id", "code", "no", "key", "nr"}

TIME_WORDS = (
    *("timestamp", "datetime", "date", "dat", "dt", "ts", "datum", "zeitstempel", "zeitpunkt", "fecha", "data", "time"),
    *("created", "createdat", "purchased", "jour", "dato", "day", "tag", "week"),
)
"""Words of a sale's moment, the most telling first."""
TIME_ENDINGS = ("timestamp", "datetime", "date", "datum")
NOT_SALE_TIME = {
    *("birth", "dob", "ship", "shipped", "shipping", "delivery", "delivered", "due", "update", "updated", "modified"),
    *("expiry", "expiration", "registration", "signup", "join", "launch", "valid", "payment", "geburts", "since"),
    *("first", "last", "prior", "return", "release", "load", "loaded"),
}
CLOCK = ("time", "hour", "transtime", "ordertime", "shophour", "uhrzeit", "stunde", "hora", "heure", "ora", "orderhour")
"""Columns that complete a date."""
HOURS = {"hour", "stunde", "hora", "heure", "ora", "uur"}
"""Words of a column whose numbers are hours; in other clock columns 5 is 00:05 and 1631 is 16:31."""


def ids(canonical: str) -> tuple[str, ...]:
    """Every plain name of an id, the best first: with an id word, then the bare noun, then its plural."""
    nouns = [plain(noun) for noun in NOUNS[canonical]]
    full = [name for noun in nouns for word in ID_WORDS for name in (noun + word, word + noun)]
    return (*full, *nouns, *(f"{noun}s" for noun in nouns))


_ORDERED = {**{name: ids(name) for name in NOUNS}, **{k: tuple(map(plain, v)) for k, v in WORDS.items()}}
RANK: dict[str, dict[str, int]] = {
    name: {w: i for i, w in reversed(list(enumerate(v)))} for name, v in _ORDERED.items()
}
"""``{canonical: {plain name: how good, 0 = best}}``."""


def rank(canonical: str, column: str) -> int | None:
    """How well a column name fits a canonical one (0 = best), or None."""
    names = RANK[canonical]
    if plain(column) in names:
        return names[plain(column)]
    words = [w for w in tokens(column) if w not in {"fk", "pk", "dim", "fact", "the", "de", "du", "del", "line"}]
    return names.get("".join(words))


def time_rank(column: str) -> int | None:
    """How well a name fits the moment of a sale (0 = best), or None."""
    words = tokens(column)
    if NOT_SALE_TIME & set(words) or plain(column) in CLOCK[1:]:
        return None
    found = [TIME_WORDS.index(w) for w in words if w in TIME_WORDS]
    found += [TIME_WORDS.index(end) for end in TIME_ENDINGS if plain(column).endswith(end)]
    return min(found) if found else None


def level_rank(prefix: str, column: str) -> tuple[int, int, int] | None:
    """(kind, place, is a code) of a tree level, to be sorted top to leaf; None for other columns."""
    words = [w for w in tokens(column) if w not in _DROP[prefix]]
    is_code = int(bool(words) and words[-1] in _CODES)
    words = words[: len(words) - is_code]
    if prefix == "category_":
        numbered = re.fullmatch(
            r"(category|cat|level|lvl|hierarchy|categorylevel|kategorie|catlevel)(\d).*", "".join(words)
        )
        if numbered:
            return 0, int(numbered[2]), is_code
    ranks = CATEGORY_RANKS if prefix == "category_" else GROUP_RANKS
    if prefix == "group_" and (numbered := re.fullmatch(r"group(\d)", "".join(words))):
        return 0, int(numbered[1]), is_code
    name = "".join(words)
    place = next((i for i, names in enumerate(ranks) if name in map(plain, names)), None)
    return None if place is None else (1, place, is_code)

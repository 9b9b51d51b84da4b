"""The web page: every route outside /v1 that a browser is for, none of them in the OpenAPI document."""

from __future__ import annotations

from fastapi import APIRouter

from api import pages_audits, pages_live, pages_login, pages_schedules, pages_static, pages_tokens

router = APIRouter(include_in_schema=False)
for module in (pages_login, pages_audits, pages_live, pages_schedules, pages_tokens, pages_static):
    router.include_router(module.router)

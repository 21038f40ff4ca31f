"""Users and projects."""

from fastapi import APIRouter, Request, Response

from api.authentication import AdminDep, OperatorDep, ViewerDep
from api.bodies import ChangeUser, NewProject, NewUser, parse_body
from api.dependencies import SessionDep
from api.json_bodies import JsonBody
from api.openapi import problems, takes
from api.pages import Cursor, Limit, cut
from api.views.base import ListView
from api.views.people import ProjectView, UserView
from store import people

router = APIRouter(tags=["lab"])


@router.get("/projects")
def list_projects(
    request: Request,
    response: Response,
    principal: ViewerDep,
    session: SessionDep,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> ListView[ProjectView]:
    """Projects that you may see, with what each holds of the disk."""
    rows = [ProjectView.model_validate(row) for row in people.projects(session, principal)]
    return cut(request, response, rows, lambda row: row.name, limit=limit, cursor=cursor)


@router.post("/projects", status_code=201, responses=problems(409), openapi_extra=takes(NewProject))
def add_project(body: JsonBody, principal: OperatorDep, session: SessionDep) -> ProjectView:
    """Make a project that jobs and datasets can belong to (operators)."""
    return ProjectView.model_validate(people.add_project(session, parse_body(NewProject, body).name, principal))


@router.get("/users")
def list_users(
    request: Request,
    response: Response,
    principal: OperatorDep,
    session: SessionDep,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> ListView[UserView]:
    """Everybody, and what they may do at most (operators)."""
    rows = [UserView.model_validate(row) for row in people.users(session, principal)]
    return cut(request, response, rows, lambda row: row.name, limit=limit, cursor=cursor)


@router.post("/users", status_code=201, responses=problems(409), openapi_extra=takes(NewUser))
def add_user(body: JsonBody, principal: AdminDep, session: SessionDep) -> UserView:
    """Make a user; their keys are made with `POST /api-keys` (admins)."""
    new = parse_body(NewUser, body)
    return UserView.model_validate(people.add_user(session, new.name, new.role, principal))


@router.patch("/users/{name}", responses=problems(404, 409), openapi_extra=takes(ChangeUser))
def change_user(name: str, body: JsonBody, principal: AdminDep, session: SessionDep) -> UserView:
    """Another role, or disabled: then none of their keys opens anything (admins)."""
    wanted = parse_body(ChangeUser, body).wanted()
    return UserView.model_validate(people.change_user(session, name, wanted, principal))
